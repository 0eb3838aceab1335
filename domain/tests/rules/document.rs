//! `docs/reference/points.md`: every table on it that begins with one of the known headers is run.

use adal_domain::{
    amounts::share_out,
    customer::trust::{self, Counts},
    policy::{Policy, TrustPolicy},
};

use crate::{
    page::{self, Table, tenge, whole},
    scenario::{self, Row},
};

const PAGE: &str = include_str!("../../../docs/reference/points.md");

fn tables() -> Vec<Table> {
    page::tables(PAGE)
}

fn numbers(row: &[String]) -> Vec<i64> {
    row.iter().map(|cell| whole(cell)).collect()
}

#[test]
fn every_example_of_the_page_is_what_the_rules_give() {
    let (mut wrong, mut examples) = (Vec::new(), 0);
    for table in tables() {
        if table.headers != ["when", "what happens", "what is seen"] {
            continue;
        }
        let rows: Vec<Row> = table
            .rows
            .iter()
            .map(|(line, cells)| {
                assert_eq!(cells.len(), 3, "points.md:{line}: three columns");
                let place = format!("points.md:{line} ({})", table.heading);
                Row { place, when: cells[0].clone(), what: cells[1].clone(), seen: cells[2].clone() }
            })
            .collect();
        examples += rows.iter().filter(|row| !row.seen.is_empty()).count();
        wrong.extend(scenario::run(&rows));
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    assert!(examples > 100, "only {examples} examples were found: is the notation still the same?");
}

#[test]
fn every_table_is_of_a_kind_that_a_test_reads() {
    let known = [
        &["when", "what happens", "what is seen"][..],
        &["clean orders", "cancelled late", "lost", "won", "fraud", "score", "while a flag caps it"],
        &["weights", "shared out", "shares"],
        &["rule", "default", "key"],
        &["in the tables", "means"],
    ];
    for table in tables() {
        assert!(known.iter().any(|k| table.headers == *k), "points.md:{}: {:?}", table.line, table.headers);
        assert!(!table.rows.is_empty(), "points.md:{}: no rows", table.line);
    }
}

#[test]
fn the_scores_are_those_of_the_formula() {
    let table = tables().into_iter().find(|table| table.headers[0] == "clean orders").unwrap();
    let policy = TrustPolicy::default();
    for (line, row) in table.rows {
        let n = numbers(&row);
        let counts = Counts {
            counted: n[0],
            cancelled_after_picking: n[1],
            lost: n[2],
            won: n[3],
            confirmed_flags: n[4],
            ..Counts::default()
        };
        let found = [trust::score(&counts, false, &policy), trust::score(&counts, true, &policy)];
        assert_eq!(found, n[5..7], "points.md:{line}");
    }
}

#[test]
fn the_shares_are_those_of_the_largest_remainder() {
    let table = tables().into_iter().find(|table| table.headers[0] == "weights").unwrap();
    for (line, row) in table.rows {
        let list = |cell: &str| cell.split(" : ").map(tenge).collect::<Vec<_>>();
        assert_eq!(share_out(tenge(&row[1]), &list(&row[0])), list(&row[2]), "points.md:{line}");
    }
}

/// The numbers that the page names as defaults are the policy's.
#[test]
fn the_defaults_are_the_policys() {
    let table = tables().into_iter().find(|table| table.headers[0] == "rule").unwrap();
    let policy = serde_json::to_value(Policy::default()).unwrap();
    for (line, row) in table.rows {
        for (key, default) in row[2].split(", ").zip(row[1].split("; ")) {
            let key = key.trim_matches('`');
            let pointer = format!("/{}", key.replace('.', "/"));
            let value = policy.pointer(&pointer).unwrap_or_else(|| panic!("points.md:{line}: no key {key}"));
            let found = value.to_string().replace('"', "").replace(',', ", ");
            assert_eq!(found.trim_matches(['[', ']']), default, "points.md:{line}: {key}");
        }
    }
}
