//! One line of the report: what was measured of both sides, and whether that is what was promised.

use serde_json::{Value, json};

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Count,
    PerSecond,
    Micros,
    Percent,
    /// So many of so many: the second number is the line's `of`.
    Of,
}

/// What was promised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Target {
    /// Through outboard at most so many times as much as directly.
    AtMost(f64),
    /// At least so many times as much.
    AtLeast(f64),
    /// Through outboard none at all.
    Zero,
    /// Nothing: it is shown because it belongs to the picture.
    Shown,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    /// None where there is nothing to measure.
    pub(super) direct: Option<f64>,
    pub(super) proxied: Option<f64>,
    /// For [`Unit::Of`], of both sides.
    pub(super) of: (f64, f64),
    pub(super) target: Target,
}

impl Line {
    /// Of two measured figures.
    pub(super) fn new(name: &'static str, unit: Unit, (direct, proxied): (f64, f64), target: Target) -> Self {
        Line { name, unit, direct: Some(direct), proxied: Some(proxied), of: (0.0, 0.0), target }
    }

    /// Through outboard as a part of directly.
    pub(super) fn ratio(&self) -> Option<f64> {
        let (direct, proxied) = (self.direct?, self.proxied?);
        (direct > 0.0 && !matches!(self.unit, Unit::Of)).then(|| proxied / direct)
    }

    /// None if nothing was promised. What could not be measured is not met.
    pub(super) fn met(&self) -> Option<bool> {
        match self.target {
            Target::AtMost(limit) => Some(self.ratio().is_some_and(|r| r <= limit)),
            Target::AtLeast(limit) => Some(self.ratio().is_some_and(|r| r >= limit)),
            // Zero of nothing says nothing.
            Target::Zero => Some(self.proxied == Some(0.0) && self.of.1 > 0.0),
            Target::Shown => None,
        }
    }

    /// As it is printed; `HEAD` names the columns.
    pub(super) fn show(&self) -> String {
        let figure = |value: Option<f64>, of: f64| value.map_or_else(|| "-".to_owned(), |v| self.unit.show(v, of));
        let ratio = self.ratio().map_or_else(|| "-".to_owned(), |r| format!("{r:.2} x"));
        let target = match self.target {
            Target::AtMost(limit) => format!("at most {limit:.2} x"),
            Target::AtLeast(limit) => format!("at least {limit:.2} x"),
            Target::Zero => "none".to_owned(),
            Target::Shown => "shown only".to_owned(),
        };
        let met = match self.met() {
            Some(true) => "  met",
            Some(false) => "  NOT MET",
            None => "",
        };
        let (direct, proxied) = (figure(self.direct, self.of.0), figure(self.proxied, self.of.1));
        columns([self.name, &direct, &proxied, &ratio, &target]) + met
    }

    /// For programs.
    pub(super) fn json(&self, part: &str) -> Value {
        let round = |v: Option<f64>| v.map(|v| (v * 1000.0).round() / 1000.0);
        let target = match self.target {
            Target::AtMost(limit) => json!({ "ratio_at_most": limit }),
            Target::AtLeast(limit) => json!({ "ratio_at_least": limit }),
            Target::Zero => json!({ "proxied": 0 }),
            Target::Shown => Value::Null,
        };
        json!({
            "part": part,
            "name": self.name,
            "unit": self.unit.name(),
            "direct": round(self.direct),
            "proxied": round(self.proxied),
            "ratio": round(self.ratio()),
            "target": target,
            "met": self.met(),
        })
    }
}

/// The names of the columns.
pub(super) fn head(title: &str) -> String {
    columns([title, "direct", "with outboard", "ratio", "target"])
}

fn columns([name, direct, proxied, ratio, target]: [&str; 5]) -> String {
    format!("{name:<34}{direct:>14}{proxied:>16}{ratio:>10}   {target:<16}")
}

impl Unit {
    fn show(self, value: f64, of: f64) -> String {
        match self {
            Unit::Count => grouped(value.round() as u64),
            Unit::PerSecond => format!("{value:.1} /s"),
            Unit::Micros => format!("{:.1} ms", value / 1000.0),
            Unit::Percent => format!("{value:.1} %"),
            Unit::Of => format!("{} of {}", grouped(value as u64), grouped(of as u64)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Unit::Count | Unit::Of => "count",
            Unit::PerSecond => "per_second",
            Unit::Micros => "us",
            Unit::Percent => "percent",
        }
    }
}

/// 1234567 as 1 234 567.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(' ');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_at_its_bound_and_not_beyond() {
        let line = |proxied, target| Line::new("x", Unit::Count, (100.0, proxied), target).met();
        assert_eq!(line(105.0, Target::AtMost(1.05)), Some(true));
        assert_eq!(line(106.0, Target::AtMost(1.05)), Some(false));
        assert_eq!(line(400.0, Target::AtLeast(4.0)), Some(true));
        assert_eq!(line(399.0, Target::AtLeast(4.0)), Some(false));
        assert_eq!(line(0.0, Target::Shown), None);
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        let none = Line::new("x", Unit::Count, (0.0, 0.0), Target::AtMost(1.0));
        assert_eq!((none.ratio(), none.met()), (None, Some(false)));
        let of = |n| Line { of: (0.0, n), ..Line::new("x", Unit::Of, (0.0, 0.0), Target::Zero) };
        assert_eq!((of(0.0).met(), of(9.0).met()), (Some(false), Some(true)));
    }

    #[test]
    fn a_line_says_both_figures_their_ratio_and_the_target() {
        let line = Line::new("reads, average", Unit::Micros, (150_000.0, 3_000.0), Target::AtMost(0.2));
        let shown: Vec<String> = line.show().split_whitespace().map(String::from).collect();
        assert_eq!(shown.join(" "), "reads, average 150.0 ms 3.0 ms 0.02 x at most 0.20 x met");
        let over = Line::new("bytes", Unit::Count, (1_234_567.0, 1_234_567.0), Target::AtMost(0.45)).show();
        assert!(over.contains("1 234 567") && over.ends_with("NOT MET"), "{over}");
    }
}
