//! The coordinator, step by step as the server's (`src/checkout`), over registries of its own. It may be killed before
//! any step, dawdles between them, and its messages are copied (`Letter`). Kept nowhere, like the real one.

use std::{collections::BTreeSet, time::Duration};

use adal_domain::{
    checkout::{
        self, Cart, HeldOffer, LineQuantity, Priced, Pricing,
        reserve::{Marks, Need, together},
    },
    customer::{Command, Customer, HoldRequest, Lately, OfferedHold, hold::Hold},
    entity::{EntityKey, EntityKind},
    errors::{Code, Refusal},
    ids::{ExchangeId, HoldId, OfferId, OrderId, uuid_v7},
    offers::{Limit, OfferKind, Reason, Use},
    promo::{self, Promo, Reserve, book::Part},
    time::Timestamp,
};
use rand::{Rng, RngCore};

use super::{
    Sales,
    catalogue::{calendar, code_hash, context, marks_of, typed},
};
use crate::{
    ask::{Answer, AskError, CommandId, Request},
    simulation::world::Process,
};

/// A message that may come again, at any later time and in any later life.
#[derive(Clone)]
pub(super) enum Letter {
    Promo(String, Reserve),
    Owner(String, Box<Request<Customer>>),
}

/// No answer: the coordinator was killed, or could not say. The client asks again with the same key.
pub(super) struct Again;

/// The print of every request's body.
pub(super) const PRINT: [u8; 16] = [1; 16];

/// Seconds that a reservation for a late capture lasts.
const LATE_S: i64 = 60;

/// One coordinator, which serves one request.
pub(super) struct Coordinator<'a> {
    pub(super) process: &'a Process<Sales>,
    pub(super) customer: &'a str,
    pub(super) id: CommandId,
}

/// What has been asked of promos for a hold so far.
struct Prepared {
    hold_id: HoldId,
    expires_at: Timestamp,
    asked: Vec<Box<str>>,
    parts: Vec<Part>,
}

enum NotKept {
    Gone,
    Unknown,
    Killed,
}

struct PricedCart {
    priced: Priced,
    facts: String,
    now: Timestamp,
}

impl Coordinator<'_> {
    /// Before each message: time passes, or this is the end.
    async fn step(&self) -> Result<(), Again> {
        let (killed, pause) = {
            let mut world = self.process.world.borrow_mut();
            let pause = match world.rng.random_range(0..100) {
                0..92 => world.rng.random_range(0..200),
                92..98 => world.rng.random_range(1_000..10_000),
                _ => world.rng.random_range(20_000..100_000),
            };
            (world.rng.random_bool(0.04), pause)
        };
        tokio::time::sleep(Duration::from_millis(pause)).await;
        if killed { Err(Again) } else { Ok(()) }
    }

    fn copy(&self, letter: impl FnOnce() -> Letter) {
        let mut world = self.process.world.borrow_mut();
        if world.rng.random_bool(0.15) {
            world.scenario.letters.borrow_mut().push(letter());
        }
    }

    fn new_hold_id(&self, now: Timestamp) -> HoldId {
        let mut bits = [0; 16];
        self.process.world.borrow_mut().rng.fill_bytes(&mut bits);
        HoldId::new(&uuid_v7(now, bits)).unwrap()
    }

    fn owner(&self) -> EntityKey {
        EntityKey::new(EntityKind::Customer, self.customer)
    }

    /// Whether a message is on its way for so long that the coordinator gives it up: it comes all the same, later.
    fn is_delayed(&self, letter: impl FnOnce() -> Letter) -> bool {
        let mut world = self.process.world.borrow_mut();
        let delayed = world.rng.random_bool(0.06);
        if delayed {
            world.scenario.letters.borrow_mut().push(letter());
        }
        delayed
    }

    /// Asks the customer.
    async fn ask(&self, id: Option<CommandId>, command: Command) -> Result<Answer<Customer>, Again> {
        self.step().await?;
        let request = Request { id, print: PRINT, command };
        let letter = || Letter::Owner(self.customer.to_owned(), Box::new(request.clone()));
        if self.is_delayed(letter) {
            return Err(Again);
        }
        self.copy(letter);
        self.process.asked.ask(self.customer, request).await.map_err(|error| again(&error))
    }

    /// Something that needs no promo.
    pub(super) async fn tell(&self, command: Command) -> Result<Answer<Customer>, Again> {
        self.ask(Some(self.id), command).await
    }

    async fn recorded(&self) -> Result<Option<Answer<Customer>>, Again> {
        self.step().await?;
        self.process.asked.recorded(self.customer, self.id, PRINT).await.map_err(|error| again(&error))
    }

    async fn refuse(
        &self,
        id: Option<CommandId>,
        prepared: &Prepared,
        why: Option<Refusal>,
    ) -> Result<Answer<Customer>, Again> {
        let command = Command::RefuseHold {
            hold_id: prepared.hold_id.clone(),
            expires_at: prepared.expires_at,
            promos: prepared.asked.clone(),
            why: why.map(Box::new),
        };
        self.ask(id, command).await
    }

    async fn let_go(&self, prepared: &Prepared) {
        if !prepared.asked.is_empty() {
            // What this does not reach, the promos ask about.
            let _ = self.refuse(None, prepared, None).await;
        }
    }

    async fn price(&self, cart: &Cart, without: &BTreeSet<OfferId>) -> Result<Result<PricedCart, Refusal>, Again> {
        self.step().await?;
        let read = self.process.asked.read(self.customer).await.map_err(|error| again(&error))?;
        let now = crate::ports::Clock::now(&*self.process.clock).max(read.at);
        let (context, calendar) = (context(), calendar());
        let state = read.state.before_hold(&context, now, None);
        let facts = state.quote_facts(&context, now);
        let print = facts.print();
        let marketing = state.marketing().cloned().unwrap_or_default();
        let uses = |one: &Use<'_>| match without.contains(one.offer_id) {
            true => Err(Reason::LimitReached(Limit::Total)),
            false => marketing.allows(one.offer_id, &one.offer.limits, now, &calendar).map_err(Reason::LimitReached),
        };
        let world = self.process.world.borrow();
        let codes: Vec<_> = cart.codes.iter().map(|code| typed(code)).collect();
        let priced = checkout::quote(&Pricing {
            cart,
            facts: &facts,
            policy: &context.policy,
            calendar: &calendar,
            revision: context.revision,
            offers: &world.scenario.offers,
            codes: &codes,
            uses: &uses,
            now,
            explain: false,
        });
        Ok(priced.map(|priced| PricedCart { priced, facts: print, now }))
    }

    /// Asks one promo.
    async fn reserve(&self, need: &Need, request: Reserve, prepared: &mut Prepared) -> Result<(), NotKept> {
        prepared.asked.push(need.promo.as_str().into());
        self.step().await.map_err(|Again| NotKept::Killed)?;
        let letter = || Letter::Promo(need.promo.clone(), request.clone());
        if self.is_delayed(letter) {
            return Err(NotKept::Unknown);
        }
        self.copy(letter);
        let command = promo::Command::Reserve(Box::new(request.clone()));
        let asked = Request::<Promo> { id: None, print: [0; 16], command };
        match self.process.owed.ask(&need.promo, asked).await {
            Ok(answer) => match answer.outcome {
                Ok(promo::Reply::Reserved { token, minor }) => {
                    prepared.parts.push(Part::new(&need.promo, &request, token, minor));
                    Ok(())
                }
                Ok(other) => panic!("the reply of another command: {other:?}"),
                Err(promo::Refusal::Busy | promo::Refusal::TooLate) => Err(NotKept::Unknown),
                Err(promo::Refusal::Invalid(rule)) => panic!("{rule}"),
                Err(_) => Err(NotKept::Gone),
            },
            Err(error) => {
                again(&error);
                Err(NotKept::Unknown)
            }
        }
    }

    fn request(&self, marks: &Marks, need: &Need, prepared: &Prepared, as_far: bool) -> Reserve {
        let exchange = ExchangeId::new(prepared.hold_id.as_str()).unwrap();
        marks.request(need, &exchange, &self.owner(), prepared.expires_at, as_far)
    }

    /// Prices a cart and holds what it needs.
    pub(super) async fn hold(&self, cart: &Cart, ttl_s: i64) -> Result<Answer<Customer>, Again> {
        if let Some(answer) = self.recorded().await? {
            return Ok(answer);
        }
        let mut without = BTreeSet::new();
        for _ in 0..6 {
            if let Some(answer) = self.attempt(cart, ttl_s, &mut without).await? {
                return Ok(answer);
            }
        }
        Err(Again)
    }

    /// `None`: to be tried anew.
    async fn attempt(
        &self,
        cart: &Cart,
        ttl_s: i64,
        without: &mut BTreeSet<OfferId>,
    ) -> Result<Option<Answer<Customer>>, Again> {
        let request = HoldRequest {
            cart: cart.clone(),
            ttl_s: Some(ttl_s),
            expected_total_minor: None,
            scan_step: None,
            no_burn: None,
            offered: None,
        };
        let priced = match self.price(cart, without).await? {
            Ok(priced) => priced,
            Err(refusal) => return self.refused(refusal).await.map(Some),
        };
        if let Some(rejected) = priced.priced.quote.rejected.iter().find(|rejected| rejected.code.is_some()) {
            return self.refused(Refusal::new(Code::PromoNotApplicable, rejected.reason.clone())).await.map(Some);
        }
        if priced.priced.applied.is_empty() {
            return self.ask(Some(self.id), Command::Hold(request)).await.map(Some);
        }
        let mut prepared = Prepared {
            hold_id: self.new_hold_id(priced.now),
            expires_at: priced.now.plus_seconds(ttl_s),
            asked: Vec::new(),
            parts: Vec::new(),
        };
        let offers: Vec<HeldOffer> = priced.priced.applied.iter().map(HeldOffer::from).collect();
        let marks = marks_of(self.customer, priced.now);
        for need in needs(&marks, &offers, priced.now) {
            let asked = self.request(&marks, &need, &prepared, false);
            match self.reserve(&need, asked, &mut prepared).await {
                Ok(()) => {}
                Err(NotKept::Killed) => return Err(Again),
                Err(NotKept::Unknown) => {
                    self.let_go(&prepared).await;
                    return Err(Again);
                }
                Err(NotKept::Gone) => return self.gone(&need, &offers, &prepared, without).await,
            }
        }
        let offered = OfferedHold {
            hold_id: prepared.hold_id.clone(),
            at: priced.now,
            expires_at: prepared.expires_at,
            facts: priced.facts,
            quote: Box::new(priced.priced.quote),
            max_discount_permyriad: context().policy.checkout.max_discount_permyriad,
            parts: prepared.parts.clone(),
            addresses: marks.addresses_of(&offers),
            link_keys: marks.link_keys,
            offers,
        };
        let command = Command::Hold(HoldRequest { offered: Some(Box::new(offered)), ..request });
        let Ok(told) = self.ask(Some(self.id), command).await else {
            // The server's leaves this to the promos; one that gives up does no harm either.
            if self.process.world.borrow_mut().rng.random_bool(0.5) {
                self.let_go(&prepared).await;
            }
            return Err(Again);
        };
        if told.replayed || told.outcome.is_err() {
            self.let_go(&prepared).await;
        }
        Ok((!is_busy(&told)).then_some(told))
    }

    /// A refusal before anything was reserved.
    async fn refused(&self, refusal: Refusal) -> Result<Answer<Customer>, Again> {
        if !refusal.is_recorded() {
            return Err(Again);
        }
        let now = crate::ports::Clock::now(&*self.process.clock);
        let nothing =
            Prepared { hold_id: self.new_hold_id(now), expires_at: now, asked: Vec::new(), parts: Vec::new() };
        self.refuse(Some(self.id), &nothing, Some(refusal)).await
    }

    /// A promo has nothing left: a campaign is left out, a code fails the hold.
    async fn gone(
        &self,
        need: &Need,
        offers: &[HeldOffer],
        prepared: &Prepared,
        without: &mut BTreeSet<OfferId>,
    ) -> Result<Option<Answer<Customer>>, Again> {
        let held = offers.iter().find(|held| held.offer_id == need.offer);
        if held.is_none_or(|held| held.kind == OfferKind::Campaign) {
            self.let_go(prepared).await;
            without.insert(need.offer.clone());
            return Ok(None);
        }
        let refusal = Refusal::new(Code::PromoNotApplicable, "it ran out");
        self.refuse(Some(self.id), prepared, Some(refusal)).await.map(Some)
    }

    /// Takes what is held, or what is left of it.
    pub(super) async fn capture(
        &self,
        hold_id: &HoldId,
        order_id: &OrderId,
        lines: Option<&Vec<LineQuantity>>,
    ) -> Result<Answer<Customer>, Again> {
        for _ in 0..3 {
            let prepared = match self.prepare(hold_id).await? {
                Late::Answered(answer) => return Ok(*answer),
                Late::Not => None,
                Late::Prepared(prepared) => Some(prepared),
            };
            let late = prepared.as_ref().map(|prepared| {
                Box::new(Lately {
                    hold_id: prepared.hold_id.clone(),
                    expires_at: prepared.expires_at,
                    asked: prepared.asked.clone(),
                    parts: prepared.parts.clone(),
                })
            });
            let (hold_id, order_id, lines) = (hold_id.clone(), order_id.clone(), lines.cloned());
            let told = self.ask(Some(self.id), Command::Capture { hold_id, order_id, lines, late }).await?;
            if let Some(prepared) = &prepared
                && (told.replayed || told.outcome.is_err())
            {
                self.let_go(prepared).await;
            }
            if !is_busy(&told) {
                return Ok(told);
            }
        }
        Err(Again)
    }

    async fn prepare(&self, hold_id: &HoldId) -> Result<Late, Again> {
        self.step().await?;
        let read = self.process.asked.read(self.customer).await.map_err(|error| again(&error))?;
        let now = crate::ports::Clock::now(&*self.process.clock).max(read.at);
        let Some(hold) = read.state.holds.iter().find(|hold| hold.hold_id == *hold_id) else { return Ok(Late::Not) };
        if !(hold.expired || hold.expires_at <= now) || hold.held_offers().is_empty() {
            return Ok(Late::Not);
        }
        if let Some(answer) = self.recorded().await? {
            return Ok(Late::Answered(Box::new(answer)));
        }
        self.prepare_late(hold, now).await.map(Late::Prepared)
    }

    async fn prepare_late(&self, hold: &Hold, now: Timestamp) -> Result<Prepared, Again> {
        let mut prepared = Prepared {
            hold_id: self.new_hold_id(now),
            expires_at: now.plus_seconds(LATE_S),
            asked: Vec::new(),
            parts: Vec::new(),
        };
        let offers = hold.offers.as_ref().unwrap();
        let marks = Marks { addresses: offers.addresses.clone(), link_keys: offers.link_keys.clone() };
        for need in needs(&marks, &offers.offers, offers.at).into_iter().map(|need| need.late(now)) {
            let asked = self.request(&marks, &need, &prepared, true);
            match self.reserve(&need, asked, &mut prepared).await {
                Ok(()) | Err(NotKept::Gone) => {}
                Err(NotKept::Killed) => return Err(Again),
                Err(NotKept::Unknown) => {
                    self.let_go(&prepared).await;
                    return Err(Again);
                }
            }
        }
        Ok(prepared)
    }
}

/// What all offers of a hold made `at` need of promos.
fn needs(marks: &Marks, offers: &[HeldOffer], at: Timestamp) -> Vec<Need> {
    let of = |held: &HeldOffer| {
        let unique = held.unique_code().map(|code| code_hash(&code));
        marks.needs(&held.offer_id, &held.offer, unique, held.discount_minor, (&calendar(), at))
    };
    together(offers.iter().flat_map(of).collect())
}

enum Late {
    Answered(Box<Answer<Customer>>),
    Not,
    Prepared(Prepared),
}

fn is_busy(told: &Answer<Customer>) -> bool {
    !told.replayed && matches!(&told.outcome, Err(refusal) if refusal.code == Code::Busy)
}

/// That there is no answer is no fault of the rules.
pub(super) fn again(error: &AskError) -> Again {
    match error {
        AskError::Busy | AskError::Unavailable { .. } | AskError::Deadline => Again,
        error => panic!("{error:?}"),
    }
}
