//! The one refusal for the public: a customer, with a token of its own, types a code that nobody knows, one whose offer
//! does not apply to the cart, one that has run out, and a unique one that was used. Status and body must be the same (but
//! for the code that was typed, the quote's id, a hash of the question, and the request's), and so must the time.
//!
//! One connection. Every customer comes for a round of codes in random order, unknown ones twice: the difference between
//! the medians of the two is what chance makes of the same case, block by block. A case whose difference is no greater than
//! that is in half of the blocks is within noise.

use std::{collections::BTreeSet, ops::Range, rc::Rc, time::Duration};

use adal::auth::jwt::Identity;
use adal_domain::ids::CustomerId;
use serde_json::{Value, json};

use crate::{
    Done,
    bench::Bench,
    clock::{Stopwatch, wall},
    http::{self, Script},
    process::Adal,
    random::Random,
    raw::Reader,
    report::median,
    sales::promo,
    scripts::{LINES, customer},
};

/// What is typed.
const CASES: [&str; 5] = ["unknown", "unknown again", "not applicable", "run out", "used unique"];
/// Customers of a block; its medians are compared.
const BLOCK: u64 = 400;

/// Measures the rows.
pub fn run(bench: &mut Bench) -> Done {
    let identity = Rc::new(Identity::generate()?);
    let pem = bench.folder.join("identity.pem");
    std::fs::write(&pem, identity.public_pem())?;
    let adal = bench.adal("refusal", &[("ADAL__AUTH__JWT__PUBLIC_KEY_FILES", &json!([pem]).to_string())])?;
    let used = prepare(&adal)?;
    let blocks = bench.scale.rounds as u64 * 8;
    let codes = [None, None, Some("FARAWAY52345"), Some("SOLDOUT52345"), Some(used.as_str())];
    let mut first = 0;
    for (path, blocks) in [("/v1/checkout/quotes", blocks), ("/v1/checkout/holds", blocks / 4)] {
        let mut seen = BTreeSet::new();
        let mut medians: Vec<Vec<f64>> = vec![Vec::new(); CASES.len()];
        for _ in 0..blocks {
            let asker = Asker::new(path, &identity, first..first + BLOCK, &codes);
            let (_, mut back) = http::run_scripts(adal.process.address, vec![asker], Duration::from_secs(300))?;
            let found = back.pop().ok_or("the script is gone")?.found;
            first += BLOCK;
            seen.extend(found.answers);
            for (medians, times) in medians.iter_mut().zip(found.times) {
                medians.push(median(times));
            }
        }
        report(bench, path, &medians, &seen);
    }
    Ok(())
}

/// The promos, and a unique code that was used.
fn prepare(adal: &Adal) -> Done<String> {
    let mut far = promo(Some("FARAWAY52345"), Some(1_000_000));
    far["conditions"] = json!({"min_subtotal_minor": 90_000_000});
    let promos = [
        ("far".to_owned(), far),
        ("sold".to_owned(), promo(Some("SOLDOUT52345"), Some(1))),
        ("unique".to_owned(), promo(None, None)),
    ];
    adal.put_offers("promo", &promos)?;
    // As long as the others: what is typed is in the answer.
    adal.call("POST", "/v1/promos/unique/codes", &adal.admin, Some(&json!({"count": 1000})))?;
    let watch = Stopwatch::start();
    let used = loop {
        if let Some(code) = Reader::open(&adal.database)?.codes(1)?.pop() {
            break code;
        }
        if watch.elapsed() > Duration::from_secs(60) {
            return Err("no unique codes within a minute".into());
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    for code in ["SOLDOUT52345", &used] {
        let body: Value = serde_json::from_str(&cart("first", Some(code)))?;
        adal.call("POST", "/v1/checkout/holds", &adal.service, Some(&body))?;
    }
    Ok(used)
}

/// What a block gave: microseconds by case, and the different answers.
#[derive(Debug, Default)]
struct Found {
    times: [Vec<f64>; CASES.len()],
    answers: BTreeSet<(u16, String)>,
}

/// A cart with one code or none, as quotes and holds take it.
fn cart(customer: &str, code: Option<&str>) -> String {
    let codes = json!(code.into_iter().collect::<Vec<_>>());
    format!(r#"{{"customer_id":"{customer}","shop_id":"s1","channel":"app","codes":{codes},"lines":{LINES}}}"#)
}

/// Customer after customer, on one connection.
struct Asker {
    path: &'static str,
    identity: Rc<Identity>,
    customers: Range<u64>,
    codes: [Option<String>; CASES.len()],
    random: Random,
    /// Whose turn it is, and its token.
    shopper: (String, String),
    /// What it has not typed yet.
    left: Vec<usize>,
    /// What was asked: the case and its code; no case where a customer comes in, which is not counted.
    asked: Option<(Option<(usize, String)>, Stopwatch)>,
    found: Found,
}

impl Asker {
    fn new(
        path: &'static str,
        identity: &Rc<Identity>,
        customers: Range<u64>,
        codes: &[Option<&str>; CASES.len()],
    ) -> Self {
        Self {
            path,
            identity: Rc::clone(identity),
            random: Random::new(customers.start),
            customers,
            codes: codes.map(|code| code.map(str::to_owned)),
            shopper: Default::default(),
            left: Vec::new(),
            asked: None,
            found: Found::default(),
        }
    }

    /// The next customer: its first question, without a code, reads it into memory.
    fn come_in(&mut self) -> Option<()> {
        let id = customer(self.customers.next()?);
        let until = wall().plus_seconds(3600);
        let token = self.identity.token(&CustomerId::new(&id).ok()?, until).ok()?;
        self.shopper = (id, token);
        self.left = (0..CASES.len()).collect();
        Some(())
    }

    /// A case that the customer has not asked yet, and its code.
    fn next_case(&mut self) -> Option<(usize, String)> {
        if self.left.is_empty() {
            return None;
        }
        let index = usize::try_from(self.random.below(self.left.len() as u64)).ok()?;
        let case = self.left.swap_remove(index);
        let code = self.codes.get(case)?.clone().unwrap_or_else(|| self.unknown());
        Some((case, code))
    }

    /// Twelve letters and digits that nobody has made a code of.
    fn unknown(&mut self) -> String {
        const SIGNS: &[u8] = b"23456789ABCDEFGHJKMNPQRSTVWXYZ";
        let sign = |random: &mut Random| SIGNS[usize::from(random.byte()) % SIGNS.len()] as char;
        (0..12).map(|_| sign(&mut self.random)).collect()
    }
}

impl Script for Asker {
    fn request(&mut self, into: &mut Vec<u8>) -> bool {
        let case = self.next_case();
        if case.is_none() && self.come_in().is_none() {
            return false;
        }
        let (id, token) = &self.shopper;
        let number = case.as_ref().map_or(0, |(case, _)| case + 1);
        let path = if case.is_none() { "/v1/checkout/quotes" } else { self.path };
        let mut headers = format!("X-Forwarded-For: 10.{}.{}.{}\r\n", &id[1..3].parse::<u8>().unwrap_or(0), 1, 1);
        if path.ends_with("holds") {
            headers.push_str(&format!("Idempotency-Key: {id}-{number}\r\n"));
        }
        let body = cart(id, case.as_ref().map(|(_, code)| code.as_str()));
        http::write(into, "POST", path, token, &headers, &body);
        self.asked = Some((case, Stopwatch::start()));
        true
    }

    fn answer(&mut self, status: u16, body: &[u8]) -> Done {
        let (case, watch) = self.asked.take().ok_or("an answer to nothing")?;
        let micros = watch.seconds() * 1e6;
        let Some((case, code)) = case else { return http::expect(status, 200, body) };
        self.found.times[case].push(micros);
        let mut answer: Value = serde_json::from_slice(body)?;
        for own in ["quote_id", "request_id"] {
            if let Some(id) = answer.get_mut(own) {
                *id = Value::Null;
            }
        }
        self.found.answers.insert((status, answer.to_string().replace(&code, "CODE")));
        Ok(())
    }
}

fn report(bench: &mut Bench, path: &str, medians: &[Vec<f64>], seen: &BTreeSet<(u16, String)>) {
    let same = seen.len() == 1;
    let answers = seen.iter().take(3).map(|(status, body)| format!("{status} {body}")).collect::<Vec<_>>().join(" / ");
    if !same {
        bench.report.note(&format!("{path}: {answers}"));
    }
    let measured = format!("{} different answers", seen.len());
    bench.report.goal(&format!("{path}, the public's refusal: status and body"), &measured, "1", same);
    let Some(unknown) = medians.first() else { return };
    let differences = |of: &[f64]| of.iter().zip(unknown).map(|(this, unknown)| this - unknown).collect::<Vec<f64>>();
    let mut all = CASES.iter().zip(medians).skip(1).map(|(name, of)| (*name, differences(of)));
    let Some((_, chance)) = all.next() else { return };
    let noise = median(chance.iter().map(|one| one.abs()).collect());
    let mut said = format!("unknown {:.1} us", median(unknown.clone()));
    let mut worst = 0.0_f64;
    for (name, of) in all {
        let typical = median(of);
        worst = worst.max(typical.abs());
        said.push_str(&format!(", {name} {typical:+.1} us"));
    }
    bench.report.goal(
        &format!("{path}, the public's refusal: time"),
        &said,
        &format!("within {noise:.1} us, the noise of one case in half of the blocks"),
        worst <= noise,
    );
}
