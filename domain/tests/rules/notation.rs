//! The words of the examples in `docs/reference/points.md`: days, money, lines. What cannot be read panics, naming it.

use adal_domain::{
    line::{Line, Unit},
    time::Timestamp,
};

use crate::{
    page::{tenge, whole},
    say,
};

/// The days and the minute of the day in "day 3, 10:30" or "days 3-9, 10:30"; without a clock, 00:00.
pub fn days(text: &str) -> (std::ops::RangeInclusive<i32>, i64) {
    let rest = text.trim().strip_prefix("day").unwrap_or_else(|| panic!("not a day: {text:?}"));
    let rest = rest.strip_prefix('s').unwrap_or(rest).trim();
    let (days, clock) = rest.split_once(", ").unwrap_or((rest, "00:00"));
    let (hours, minutes) = clock.split_once(':').unwrap_or_else(|| panic!("not a clock: {text:?}"));
    let day = |text: &str| i32::try_from(whole(text)).unwrap();
    let days = match days.split_once(" to ") {
        Some((first, last)) => day(first)..=day(last),
        None => day(days)..=day(days),
    };
    (days, whole(hours) * 60 + whole(minutes))
}

/// "day 3, 10:30".
pub fn moment(text: &str) -> Timestamp {
    let (days, minutes) = days(text);
    say::time(*days.start(), minutes)
}

/// "milk 1,999", "milk 3 x 500", "plums 1,000 g at 1,200": name, then the price of the line, of a piece, of a kilogram.
pub fn line(text: &str) -> Line {
    let (name, rest) = text.trim().split_once(' ').unwrap_or_else(|| panic!("not a line: {text:?}"));
    if let Some((grams, price)) = rest.split_once(" g at ") {
        let grams = whole(grams);
        let mut line = say::line(name, grams, Unit::Gram, 0);
        (line.line_total_minor, line.unit_price_minor) = (None, Some(tenge(price)));
        line
    } else if let Some((pieces, price)) = rest.split_once(" x ") {
        say::line(name, whole(pieces), Unit::Piece, whole(pieces) * tenge(price))
    } else {
        say::piece(name, tenge(rest))
    }
}

/// Lines joined by " + ".
pub fn lines(text: &str) -> Vec<Line> {
    text.split(" + ").map(line).collect()
}

/// "milk 1, plums 850 g".
pub fn quantities<'a>(parts: impl IntoIterator<Item = &'a str>) -> Vec<(String, i64)> {
    parts
        .into_iter()
        .map(|part| {
            let (name, quantity) = part.trim().split_once(' ').unwrap_or_else(|| panic!("not a quantity: {part:?}"));
            (name.to_owned(), whole(quantity.strip_suffix(" g").unwrap_or(quantity)))
        })
        .collect()
}

/// What lines cost together, minor units.
pub fn worth(lines: &[Line]) -> i64 {
    lines.iter().map(|line| line.subtotal("line").unwrap().0).sum()
}
