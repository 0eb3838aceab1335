//! Pricing a cart for a request: the catalogue in force, what the customer and the promos have published, and the codes
//! typed. Writes nothing, and waits only for what does not live in memory.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use adal_actors::Published;
use adal_domain::{
    checkout::{self, Facts, Priced, Pricing, Quote, RejectedOffer, reserve::Marks},
    customer::{
        State,
        marketing::{Marketing, is_counted},
        read::SignalKind,
    },
    entity::{EntityKey, EntityKind},
    errors::{Code, Refusal},
    ids::{ExchangeId, OfferId},
    offers::{CompiledOffers, Limit, NormalCode, Reason, TypedCode, Use},
    policy::CodePolicy,
    promo::{Promo, is_budget, is_code},
    time::Timestamp,
};

use super::{
    Asked, meters,
    reserve::{NotKept, code_hash, marks, said},
};
use crate::{
    app::{App, GUEST, InForce},
    clock::Stopwatch,
    http::{
        problem::Problem,
        watch::{self, Sight},
    },
};

/// Why a code was not looked at: too many wrong ones came before it.
const CODES_LOCKED: &str = "codes_locked";

/// How often a cart is evaluated again because a promo that it may use was not in memory.
const ROUNDS: usize = 8;

/// A cart, priced, and what it was priced with.
pub struct PricedCart {
    /// The quote and its offers.
    pub priced: Priced,
    /// The catalogue.
    pub in_force: Arc<InForce>,
    /// What of the request goes into reservations.
    pub marks: Marks,
    /// The print of the customer's facts.
    pub facts: String,
    /// The moment.
    pub now: Timestamp,
}

impl std::fmt::Debug for PricedCart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PricedCart").field("quote", &self.priced.quote).finish_non_exhaustive()
    }
}

/// A trial: another time, other offers.
#[derive(Default)]
pub struct Trial {
    /// Whether it is one. Its codes are nobody's attempts: they are neither counted nor locked out, whatever its time.
    pub is_dry: bool,
    /// The time to price at.
    pub at: Option<Timestamp>,
    /// The catalogue with drafts.
    pub offers: Option<Arc<CompiledOffers>>,
}

/// The customer as a checkout needs it.
struct Shopper {
    facts: Facts,
    print: String,
    marketing: Marketing,
    now: Timestamp,
}

async fn shopper(app: &App, asked: &Asked, at: Option<Timestamp>) -> Result<Shopper, Problem> {
    let Some(id) = &asked.customer else {
        let now = at.unwrap_or_else(|| app.now());
        return Ok(facts_of(app, asked, &State::new(GUEST), GUEST, now));
    };
    let read = app.customers.read(id.as_str()).await?;
    // The clock may stand before the last row (it was set back): a state is never read as of before itself.
    let now = at.unwrap_or_else(|| app.now().max(read.at));
    Ok(facts_of(app, asked, &read.state, id.as_str(), now))
}

fn facts_of(app: &App, asked: &Asked, state: &State, id: &str, now: Timestamp) -> Shopper {
    let context = app.context(id);
    let state = state.before_hold(&context, now, asked.scan_step);
    let mut facts = state.quote_facts(&context, now);
    let print = facts.print();
    let used = asked.scan_step.filter(|step| state.is_step_used(*step)).map(|_| Code::QrUsed);
    facts.standing.no_burn = facts.standing.no_burn.or(used).or(asked.no_burn);
    let marketing = state.marketing().cloned().unwrap_or_default();
    Shopper { facts, print, marketing, now }
}

/// Prices a cart that nobody holds yet.
///
/// # Errors
/// As `price`.
pub async fn quote(app: &App, asked: &Asked, trial: &Trial) -> Result<Quote, Problem> {
    let watch = Stopwatch::start();
    let priced = price(app, asked, trial, &BTreeMap::new()).await?;
    meters::priced("quote", &watch);
    Ok(priced?.priced.quote)
}

/// Prices a cart. `without`: campaigns that ran out since the last look, and of what.
///
/// # Errors
/// What the rules answer; `busy` where a promo has no room for one more reservation now, or the store where a state cannot
/// be read.
pub(super) async fn price(
    app: &App,
    asked: &Asked,
    trial: &Trial,
    without: &BTreeMap<OfferId, Limit>,
) -> Result<Result<PricedCart, Refusal>, Problem> {
    let in_force = app.policy.load_full();
    let shopper = shopper(app, asked, trial.at).await?;
    let codes = codes(app, asked, &in_force, (!trial.is_dry).then_some(shopper.now)).await?;
    let (locked, codes) = (codes.is_none(), codes.unwrap_or_default());
    let offers = trial.offers.as_ref().unwrap_or(&in_force.offers);
    let marks = marks(app, asked, (&in_force, shopper.now), trial.is_dry).await?;
    let mut promos: HashMap<String, Arc<Published<Promo>>> = HashMap::new();
    for _ in 0..ROUNDS {
        let missing = RefCell::new(BTreeSet::new());
        let unknown = RefCell::new(None);
        let uses = |one: &Use<'_>| {
            let published = |promo: &str| {
                let known = promos.get(promo).cloned().or_else(|| app.promos.peek(promo));
                if known.is_none() {
                    missing.borrow_mut().insert(promo.to_owned());
                }
                known
            };
            allowed(&in_force, &shopper, &marks, &codes, without, one, published).or_else(|against| match against {
                Against::Reason(reason) => Err(reason),
                // Nothing that this cart is told of it would be true: no answer is.
                Against::Unknown(problem) => {
                    *unknown.borrow_mut() = Some(problem);
                    Ok(())
                }
            })
        };
        let mut priced = checkout::quote(&Pricing {
            cart: &asked.cart,
            facts: &shopper.facts,
            policy: &in_force.policy,
            calendar: &in_force.calendar,
            revision: in_force.revision,
            offers,
            codes: &codes,
            uses: &uses,
            now: shopper.now,
            explain: asked.explain,
        });
        if let Some(problem) = unknown.into_inner() {
            return Err(problem);
        }
        let missing = missing.into_inner();
        if missing.is_empty() {
            let (facts, now) = (shopper.print, shopper.now);
            if locked && let Ok(priced) = &mut priced {
                lock(asked, priced);
            }
            if let Ok(priced) = &priced
                && !trial.is_dry
            {
                count_wrong(app, asked, priced, &in_force.policy.codes, now);
            }
            if let Ok(priced) = &priced {
                meters::without_address(asked, &priced.applied);
            }
            return Ok(priced.map(|priced| PricedCart { priced, in_force, marks, facts, now }));
        }
        for promo in missing {
            let read = app.promos.read(&promo).await?;
            promos.insert(promo, read);
        }
    }
    Err(Problem::new(Code::Unavailable, "the cart's offers change faster than they can be read; repeat the request"))
}

/// What stands against a use of an offer.
enum Against {
    /// For this cart.
    Reason(Reason),
    /// That cannot be said now.
    Unknown(Problem),
}

impl From<Reason> for Against {
    fn from(reason: Reason) -> Self {
        Self::Reason(reason)
    }
}

/// Whether an offer's limits allow a use, as far as is published.
fn allowed(
    in_force: &InForce,
    shopper: &Shopper,
    marks: &Marks,
    codes: &[TypedCode],
    without: &BTreeMap<OfferId, Limit>,
    one: &Use<'_>,
    published: impl Fn(&str) -> Option<Arc<Published<Promo>>>,
) -> Result<(), Against> {
    if let Some(limit) = without.get(one.offer_id) {
        return Err(Reason::LimitReached(*limit).into());
    }
    if is_counted(&one.offer.limits) {
        if shopper.facts.shopper.customer_id.is_none() {
            return Err(Reason::CustomerRequired.into());
        }
        let allowed = shopper.marketing.allows(one.offer_id, &one.offer.limits, shopper.now, &in_force.calendar);
        allowed.map_err(Reason::LimitReached)?;
    }
    let unique = codes
        .iter()
        .find(|code| Some(code.typed.as_str()) == one.code && code.offer.is_some())
        .and_then(|code| NormalCode::new(&code.typed))
        .map(|code| code_hash(&code));
    let time = (&in_force.calendar, shopper.now);
    let Ok(hold) = ExchangeId::new("quote") else { return Ok(()) };
    let owner = EntityKey::new(EntityKind::Guest, "quote");
    let later = shopper.now.plus_seconds(in_force.policy.checkout.hold_ttl_s);
    for mut need in marks.needs(one.offer_id, one.offer, unique, one.discount_minor, time) {
        if is_budget(&need.promo) {
            need.minor += one.group_minor;
        }
        let Some(state) = published(&need.promo) else { continue };
        let request = marks.request(&need, &hold, &owner, later, false);
        if let Err(refusal) = state.state.would_reserve(&request, shopper.now) {
            return Err(match said(refusal) {
                NotKept::Gone(_) if is_code(&need.promo) => Reason::CodeUsed.into(),
                NotKept::Gone(limit) => Reason::LimitReached(limit).into(),
                // As the hold would say.
                NotKept::Unknown(problem) => Against::Unknown(problem),
            });
        }
    }
    Ok(())
}

/// The codes typed, unique ones with their offers; none for one who is locked out at `attempted`.
async fn codes(
    app: &App,
    asked: &Asked,
    in_force: &InForce,
    attempted: Option<Timestamp>,
) -> Result<Option<Vec<TypedCode>>, Problem> {
    if asked.cart.codes.is_empty() {
        return Ok(Some(Vec::new()));
    }
    if attempted.is_some_and(|now| app.attempts.is_locked(asked, now)) {
        return Ok(None);
    }
    let mut codes = Vec::with_capacity(asked.cart.codes.len());
    for typed in &asked.cart.codes {
        let shared = NormalCode::new(typed).is_some_and(|code| in_force.offers.promo_of(&code).is_some());
        // The public must not see by the time that a code is a shared one: what it types is always looked up.
        let offer = if shared && asked.is_trusted { None } else { app.unique_code(typed).await? };
        let offer = offer.filter(|_| !shared);
        codes.push(TypedCode { typed: typed.clone(), offer });
    }
    Ok(Some(codes))
}

/// Says of every code that it was not looked at.
fn lock(asked: &Asked, priced: &mut Priced) {
    priced.quote.rejected.extend(asked.cart.codes.iter().map(|code| RejectedOffer {
        offer_id: None,
        code: Some(code.clone()),
        reason: CODES_LOCKED.to_owned(),
        condition: None,
    }));
}

/// Counts codes that nobody knows: as many as the customer's trust allows, and its lock-out is a signal.
fn count_wrong(app: &App, asked: &Asked, priced: &Priced, policy: &CodePolicy, now: Timestamp) {
    let unknown = priced.quote.rejected.iter().filter(|one| one.reason == Reason::CodeUnknown.as_str());
    let wrong: Vec<&str> = unknown.filter_map(|one| one.code.as_deref()).collect();
    if wrong.is_empty() {
        return;
    }
    let standard = policy.wrong_per_customer;
    let limit = match &asked.customer {
        // Priced a moment ago: it is in memory. Where it is not any more, it is counted as anybody is.
        Some(id) => app
            .customers
            .peek(id.as_str())
            .map_or(standard, |read| read.state.by_trust(standard, &app.context(id.as_str()), now)),
        None => standard,
    };
    if let (true, Some(id)) = (app.attempts.wrong(asked, &wrong, limit, policy, now), &asked.customer) {
        let CodePolicy { window_s, locked_s, .. } = policy;
        let detail = format!("{limit} wrong codes in {window_s} s: no code is looked at for {locked_s} s");
        let (kind, shop_id) = (SignalKind::WrongCodes, Some(asked.cart.shop_id.clone()));
        watch::tell(app, id, Sight { kind, shop_id, order: None, detail });
    }
}
