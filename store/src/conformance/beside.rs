//! What stands beside the journal: unique codes and the counts of banners.

use adal_actors::ports::{BannerCounts, CodeJob, Codes, JobState};
use adal_domain::{
    ids::{Actor, BannerId, OfferId},
    offers::NormalCode,
    time::{Day, Timestamp},
};

use super::{Factory, Ports};

pub(super) async fn run(factory: &dyn Factory) {
    a_job_makes_so_many_codes_and_no_more(factory).await;
    a_code_belongs_to_one_offer(factory).await;
    a_job_is_begun_once_and_stays_cancelled(factory).await;
    the_codes_of_an_offer_are_paged(factory).await;
    counts_add_up(factory).await;
    a_period_has_one_secret_until_it_is_over(factory).await;
    all_of_it_can_be_carried_off(factory).await;
}

/// A job of `count` codes of `offer`.
#[must_use]
pub fn job(id: &str, offer: &str, count: u64) -> CodeJob {
    CodeJob {
        id: id.into(),
        offer: OfferId::new(offer).unwrap(),
        prefix: format!("{offer}-"),
        start: 7,
        count,
        done: 0,
        state: JobState::Open,
        by: Actor::new("k1").unwrap(),
        at: Timestamp::from_seconds(5),
        print: [9; 16],
    }
}

fn codes(texts: &[&str]) -> Vec<NormalCode> {
    texts.iter().map(|text| NormalCode::new(text).unwrap()).collect()
}

async fn owner(store: &dyn Codes, code: &str) -> Option<String> {
    store.offer_of(&NormalCode::new(code).unwrap()).await.unwrap().map(|id| id.to_string())
}

async fn a_job_makes_so_many_codes_and_no_more(factory: &dyn Factory) {
    let mut ports = factory.fresh().await;
    let begun = ports.codes.begin(job("j1", "a", 3)).await.unwrap();
    assert_eq!(begun, job("j1", "a", 3));
    let half = ports.codes.add("j1", codes(&["A1", "A2"])).await.unwrap().unwrap();
    assert_eq!((half.done, half.state), (2, JobState::Open));
    ports = factory.reopen(ports).await;
    assert_eq!(ports.codes.open_jobs(9).await.unwrap(), [half]);
    let done = ports.codes.add("j1", codes(&["A1", "A3", "A4"])).await.unwrap().unwrap();
    assert_eq!((done.done, done.state), (3, JobState::Done), "A1 is there already, A4 too many");
    assert_eq!((owner(&*ports.codes, "a3").await.as_deref(), owner(&*ports.codes, "A4").await), (Some("a"), None));
    assert_eq!(ports.codes.add("j1", codes(&["A5"])).await.unwrap().unwrap(), done, "nothing more");
    assert_eq!(owner(&*ports.codes, "A5").await, None);
    assert_eq!(ports.codes.add("nothing", codes(&["A5"])).await.unwrap(), None);
    assert!(ports.codes.open_jobs(9).await.unwrap().is_empty());
}

async fn a_code_belongs_to_one_offer(factory: &dyn Factory) {
    let Ports { codes: store, .. } = factory.fresh().await;
    store.begin(job("j1", "a", 9)).await.unwrap();
    store.begin(job("j2", "b", 9)).await.unwrap();
    store.add("j1", codes(&["X", "Y"])).await.unwrap();
    let second = store.add("j2", codes(&["Y", "Z"])).await.unwrap().unwrap();
    assert_eq!(second.done, 1);
    for (code, offer) in [("X", Some("a")), ("Y", Some("a")), ("Z", Some("b")), ("W", None)] {
        assert_eq!(owner(&*store, code).await.as_deref(), offer, "{code}");
    }
    let open: Vec<String> = store.open_jobs(1).await.unwrap().into_iter().map(|job| job.id).collect();
    assert_eq!(open, ["j1"], "the oldest first");
}

async fn a_job_is_begun_once_and_stays_cancelled(factory: &dyn Factory) {
    let Ports { codes: store, .. } = factory.fresh().await;
    store.begin(job("j1", "a", 9)).await.unwrap();
    store.add("j1", codes(&["X"])).await.unwrap();
    let again = store.begin(job("j1", "b", 5)).await.unwrap();
    assert_eq!((again.offer.as_str(), again.count, again.done), ("a", 9, 1), "the first one, as it is");
    let cancelled = store.cancel("j1").await.unwrap().unwrap();
    assert_eq!((cancelled.state, cancelled.done), (JobState::Cancelled, 1));
    assert_eq!(store.add("j1", codes(&["Y"])).await.unwrap().unwrap(), cancelled);
    assert_eq!((owner(&*store, "X").await.as_deref(), owner(&*store, "Y").await), (Some("a"), None));
    assert_eq!(store.cancel("j1").await.unwrap().unwrap(), cancelled);
    assert_eq!(store.cancel("nothing").await.unwrap(), None);
    store.begin(job("j2", "a", 1)).await.unwrap();
    store.add("j2", codes(&["Z"])).await.unwrap();
    assert_eq!(store.cancel("j2").await.unwrap().unwrap().state, JobState::Done, "what is done is not cancelled");
}

async fn the_codes_of_an_offer_are_paged(factory: &dyn Factory) {
    let Ports { codes: store, .. } = factory.fresh().await;
    for (id, offer) in [("j1", "a"), ("j2", "b"), ("j3", "a")] {
        store.begin(job(id, offer, 100)).await.unwrap();
        let texts: Vec<String> = (10..30).map(|n| format!("{n}{id}")).collect();
        store.add(id, codes(&texts.iter().map(String::as_str).collect::<Vec<_>>())).await.unwrap();
    }
    let offer = OfferId::new("a").unwrap();
    let (mut found, mut after) = (Vec::new(), None);
    for _ in 0..100 {
        let page = store.page(&offer, after.as_deref(), 7).await.unwrap();
        assert!(page.codes.len() <= 7);
        found.extend(page.codes);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), 40);
    assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "in their order, each once");
    assert!(found.iter().all(|(_, prefix)| &**prefix == "a-"));
    let nobodys = OfferId::new("c").unwrap();
    assert!(store.page(&nobodys, None, 7).await.unwrap().codes.is_empty());
}

async fn counts_add_up(factory: &dyn Factory) {
    let mut ports = factory.fresh().await;
    let (a, b) = (BannerId::new("a").unwrap(), BannerId::new("b").unwrap());
    let of = |servings, impressions, clicks| BannerCounts { servings, impressions, clicks };
    let first =
        vec![(a.clone(), Day(3), of(5, 2, 1)), (b.clone(), Day(3), of(1, 0, 0)), (a.clone(), Day(4), of(1, 1, 1))];
    ports.counts.add_counts(first).await.unwrap();
    ports.counts.add_counts(vec![(a.clone(), Day(3), of(1, 1, 0))]).await.unwrap();
    ports = factory.reopen(ports).await;
    assert_eq!(ports.counts.counts_of(&a, 9).await.unwrap(), [(Day(4), of(1, 1, 1)), (Day(3), of(6, 3, 1))]);
    assert_eq!(ports.counts.counts_of(&a, 1).await.unwrap().len(), 1);
    assert_eq!(ports.counts.counts_of(&b, 9).await.unwrap(), [(Day(3), of(1, 0, 0))]);
    assert!(ports.counts.counts_of(&BannerId::new("c").unwrap(), 9).await.unwrap().is_empty());
}

/// What a tool reads to carry a store off: every job with its codes, and every banner of which something is counted.
async fn all_of_it_can_be_carried_off(factory: &dyn Factory) {
    let ports = factory.fresh().await;
    assert_eq!(ports.codes.jobs(None, 9).await.unwrap(), []);
    assert_eq!(ports.counts.counted(None, 9).await.unwrap(), []);
    for (id, offer, made) in [("j2", "a", &["C2", "C0", "C4"][..]), ("j1", "b", &["C1"]), ("j3", "a", &["C3"])] {
        ports.codes.begin(job(id, offer, 3)).await.unwrap();
        ports.codes.add(id, codes(made)).await.unwrap();
    }
    ports.codes.cancel("j3").await.unwrap();
    let counts = BannerCounts { servings: 1, ..BannerCounts::default() };
    let banner = |id: &str| BannerId::new(id).unwrap();
    for (id, day) in [("b2", 1), ("b1", 1), ("b2", 2), ("b3", 1)] {
        ports.counts.add_counts(vec![(banner(id), Day(day), counts)]).await.unwrap();
    }
    let ports = factory.reopen(ports).await;
    let (codes, counts) = (&ports.codes, &ports.counts);
    let told = |jobs: Vec<CodeJob>| jobs.into_iter().map(|job| (job.id, job.done, job.state)).collect::<Vec<_>>();
    let [one, two, three] = [("j1", 1, JobState::Open), ("j2", 3, JobState::Done), ("j3", 1, JobState::Cancelled)]
        .map(|(id, done, state)| (id.to_owned(), done, state));
    assert_eq!(told(codes.jobs(None, 2).await.unwrap()), [one, two.clone()]);
    assert_eq!(told(codes.jobs(Some("j1"), 9).await.unwrap()), [two, three]);
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = codes.codes_of("j2", after.as_deref(), 2).await.unwrap();
        assert!(page.codes.len() <= 2);
        found.extend(page.codes);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, ["C0", "C2", "C4"], "of this job alone, in order");
    assert_eq!(codes.codes_of("none", None, 9).await.unwrap().codes, [""; 0]);
    assert_eq!(counts.counted(None, 2).await.unwrap(), [banner("b1"), banner("b2")], "each once");
    assert_eq!(counts.counted(Some(&banner("b2")), 9).await.unwrap(), [banner("b3")]);
}

async fn a_period_has_one_secret_until_it_is_over(factory: &dyn Factory) {
    let mut ports = factory.fresh().await;
    // Ahead of every clock: a store may forget what is over by itself.
    let until = |days: i64| Timestamp::from_seconds(4_000_000_000 + days * 86_400);
    let (one, other) = ([1; 32], [2; 32]);
    assert_eq!(ports.periods.period_key(until(1), one).await.unwrap(), one);
    assert_eq!(ports.periods.period_key(until(1), other).await.unwrap(), one, "the first one counts");
    ports = factory.reopen(ports).await;
    assert_eq!(ports.periods.period_key(until(1), other).await.unwrap(), one);
    assert_eq!(ports.periods.period_key(until(2), other).await.unwrap(), other);
    let both = futures_util::future::join_all((3..9).map(|n| ports.periods.period_key(until(3), [n; 32]))).await;
    let first = both[0].clone().unwrap();
    assert!(both.into_iter().all(|secret| secret.unwrap() == first), "whoever asks at the same time gets the same");
    ports.periods.forget_period_keys(until(1)).await.unwrap();
    assert_eq!(ports.periods.period_key(until(1), other).await.unwrap(), one, "its end is not over yet");
}
