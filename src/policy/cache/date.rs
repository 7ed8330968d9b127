//! Dates of HTTP (RFC 9110, 5.6.7) as seconds since 1970.

use std::time::UNIX_EPOCH;

use http::header::{GetAll, HeaderValue};

/// The longest text that can be a date: `Wednesday, 06-Nov-94 08:49:37 GMT`.
const LONGEST: usize = 33;

const WEEKDAYS: [&[u8; 3]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

/// Reads a date in any of the three forms that a recipient must know. Upper and lower case are the same here, and a weekday
/// that is not the one of the date is passed over: neither leaves a doubt about what is meant.
pub fn parse(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    let mut text = [0; LONGEST];
    let text = text.get_mut(..value.len())?;
    text.copy_from_slice(value);
    for word in text.split_mut(|b| !b.is_ascii_alphabetic()) {
        word.make_ascii_lowercase();
        if word == b"gmt" {
            word.make_ascii_uppercase();
        } else if let Some(first) = word.first_mut() {
            first.make_ascii_uppercase();
        }
    }
    if let Some(seconds) = seconds(text) {
        return Some(seconds);
    }
    if !WEEKDAYS.iter().any(|day| text.starts_with(*day)) {
        return None;
    }
    WEEKDAYS.iter().find_map(|day| {
        text.get_mut(..3)?.copy_from_slice(*day);
        seconds(text)
    })
}

fn seconds(text: &[u8]) -> Option<u64> {
    let date = httpdate::parse_http_date(std::str::from_utf8(text).ok()?).ok()?;
    Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// The date of a field. None where there is no line, where a line is no date, and where two lines differ.
pub(super) fn field(lines: GetAll<'_, HeaderValue>) -> Option<u64> {
    let mut dates = lines.iter().map(|line| parse(line.as_bytes()));
    let first = dates.next()??;
    dates.all(|date| date == Some(first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_the_same_date() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            " SUN, 06 NOV 1994 08:49:37 gmt ",
            "sunday, 06-nov-94 08:49:37 Gmt",
            "Tue, 06 Nov 1994 08:49:37 GMT",
            "Tue Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(784_111_777), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "0",
            "-1",
            "784111777",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 2050 02:01:18",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Xxx, 18 Aug 2050 02:01:18 GMT",
            "Thu",
            "Thu, 38 Aug 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 GMT and a rest that is longer than any date may be",
            "Thursday, 18-Aug-\u{e4}0 02:01:18 GMT",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(text: Vec<u8>, near in "[A-Za-z]{3,9},? ?[0-9a-z -]{0,12} [0-9: ]{0,9} ?GMT") {
            parse(&text);
            parse(near.as_bytes());
        }
    }
}
