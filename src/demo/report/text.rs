//! The report for people.

use std::io::{self, Write};

use super::line::{Line, grouped, head};
use super::{Comparison, Kind, Latency, Part};

impl Comparison {
    /// The tables, how to read them, and what they come to.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let (half, saturated, right) = (self.half_lines(), self.saturated_lines(), self.correctness_lines());
        table(out, &format!("At half load: {:.0} requests a second on both sides", self.half_rate), &half)?;
        let title = format!("At saturation: {} clients, each at once with its next request", self.plan.clients);
        table(out, &title, &saturated)?;
        table(out, "Right answers, over the whole run", &right)?;
        self.notes(out)?;
        self.one_request(out)?;
        self.summary(out, &[("at half load", half), ("at saturation", saturated), ("in the whole run", right)])
    }

    /// What was done.
    fn notes(&self, out: &mut dyn Write) -> io::Result<()> {
        let share = |kinds: &[Kind]| kinds.iter().map(|k| k.of_a_hundred()).sum::<u32>();
        writeln!(
            out,
            "\nHow to read it\n\
             Both sides were sent the same traffic (seed {}): {} % read a merchant's configuration or payment methods, as a\n\
             payment page does, {} % a payment, {} % a list of payments; {} % pay or refund. Merchants are drawn by Zipf.\n\
             The application is a sample, its SQL is real, and {} ms are waited for each round trip to its database; it\n\
             has ten connections, and alone it answers {:.0} requests a second with them. Half load is half of that, at\n\
             times that do not wait for answers. Before, every payment page was read once, directly as well.\n\
             A read is stale if it lacks a write that was answered before the read began. Each merchant has a key of its\n\
             own (Authorization), and lists have one URL for all. Clients accept gzip and zstd on both sides, the\n\
             application compresses nothing; bytes are all that the clients received. Clients, application and outboard\n\
             share this machine's CPUs. With slow queries that each write changes, your figures would be lower.",
            self.plan.seed,
            share(&[Kind::Config, Kind::Methods]),
            share(&[Kind::Get]),
            share(&[Kind::List]),
            share(&[Kind::Create, Kind::Refund]),
            self.db_latency.as_secs_f64() * 1000.0,
            self.direct.saturated.throughput(),
        )
    }

    /// What one request costs.
    fn one_request(&self, out: &mut dyn Write) -> io::Result<()> {
        let (direct, proxied) = (Latency::of(self.overhead.direct.clone()), Latency::of(self.overhead.proxied.clone()));
        if direct.count == 0 {
            return writeln!(out, "What it adds to one forwarded request was not measured.");
        }
        let added = self.added();
        writeln!(
            out,
            "What it adds to one forwarded request (GET /healthz, one client, {} pairs in turn): median {:.0} us direct,\n\
             {:.0} us through outboard; added in a pair: median {:.0} us, 99th percentile {:.0} us.",
            direct.count, direct.p50, proxied.p50, added.p50, added.p99,
        )
    }

    /// What it comes to, in words that hold for any figures.
    fn summary(&self, out: &mut dyn Write, parts: &[(&str, Vec<Line>)]) -> io::Result<()> {
        let ms = |part: &Part| format!("{:.1} ms", part.reads().average / 1000.0);
        let (half, full) = ((&self.direct.half, &self.proxied.half), (&self.direct.saturated, &self.proxied.saturated));
        writeln!(out, "\nSummary")?;
        writeln!(out, "  A read at half load took {} on average directly, {} with outboard.", ms(half.0), ms(half.1))?;
        writeln!(
            out,
            "  Under all that {} clients can send, {:.0} requests a second were answered directly, {:.0} with outboard.",
            self.plan.clients,
            full.0.throughput(),
            full.1.throughput()
        )?;
        writeln!(
            out,
            "  For the same {} requests the database got {} queries directly, {} with outboard.",
            grouped(half.0.load.requests()),
            grouped(half.0.queries),
            grouped(half.1.queries)
        )?;
        let lines = parts.iter().flat_map(|(part, lines)| lines.iter().map(move |line| (part, line)));
        let promised: Vec<_> = lines.filter(|(_, line)| line.met().is_some()).collect();
        let missed = promised.iter().filter(|(_, line)| line.met() == Some(false));
        let missed: Vec<String> = missed.map(|(part, line)| format!("{} {part}", line.name)).collect();
        let met = promised.len() - missed.len();
        if missed.is_empty() {
            writeln!(out, "  {met} of {} targets met.", promised.len())
        } else {
            writeln!(out, "  {met} of {} targets met; not met: {}.", promised.len(), missed.join("; "))
        }
    }
}

fn table(out: &mut dyn Write, title: &str, lines: &[Line]) -> io::Result<()> {
    writeln!(out, "\n{title}\n{}", head("").trim_end())?;
    for line in lines {
        writeln!(out, "{}", line.show().trim_end())?;
    }
    Ok(())
}
