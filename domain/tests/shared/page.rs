//! Pages of `docs/reference` whose tables tests run: the tables, and the numbers in them.

/// A table: where it begins, its headers, its rows.
pub struct Table {
    pub heading: String,
    pub line: usize,
    pub headers: Vec<String>,
    pub rows: Vec<(usize, Vec<String>)>,
}

fn cells(line: &str) -> Vec<String> {
    line.trim().trim_start_matches('|').trim_end_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// The tables of a page, in its order.
pub fn tables(page: &str) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let (mut heading, mut inside) = (String::new(), false);
    for (i, line) in page.lines().enumerate() {
        if let Some(title) = line.strip_prefix('#') {
            heading = title.trim_start_matches('#').trim().to_owned();
        }
        let is_row = line.starts_with('|');
        if is_row && !inside {
            tables.push(Table { heading: heading.clone(), line: i + 1, headers: cells(line), rows: Vec::new() });
        } else if is_row && !line.starts_with("|--") {
            tables.last_mut().unwrap().rows.push((i + 1, cells(line)));
        }
        inside = is_row;
    }
    tables
}

/// "1,234" or "-5" as a whole number.
pub fn whole(text: &str) -> i64 {
    let digits = text.trim().replace(',', "");
    digits.strip_prefix('+').unwrap_or(&digits).parse().unwrap_or_else(|_| panic!("not a number: {text:?}"))
}

/// "1,234.50" tenge as minor units.
pub fn tenge(text: &str) -> i64 {
    let text = text.trim().replace(',', "");
    let (tenge, tiyn) = text.split_once('.').unwrap_or((&text, "00"));
    assert_eq!(tiyn.len(), 2, "two digits of tiyn: {text:?}");
    whole(tenge) * 100 + whole(tiyn)
}
