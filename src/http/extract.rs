//! Who asks, and under which key.
//!
//! A handler takes its [`Principal`] first: what is not authenticated is refused before its body is read. Nothing here
//! decides what a role may do; handlers name the roles with [`Principal::require`] and [`Principal::may_see_customer`].

use std::{
    fmt,
    future::{Ready, ready},
    str::FromStr,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header, web::Data};
use adal_domain::{
    errors::Code,
    ids::{Actor, CustomerId, ShopId},
};
use serde::{Deserialize, Serialize};

pub use super::body::{Body, MaybeBody, Query, Question, Strict};
use super::{edge, problem::Problem, respond::negotiate};
use crate::app::App;

/// What a service key is for. Admin is a role like the others: it does not imply them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A till of one shop.
    Pos,
    /// The shop's own systems.
    Service,
    /// A support agent.
    Support,
    /// A moderator of reviews.
    Moderator,
    /// An arbiter of disputes.
    Arbiter,
    /// A live page: reads.
    Dashboard,
    /// Who sets policy and points.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 7] =
        [Self::Pos, Self::Service, Self::Support, Self::Moderator, Self::Arbiter, Self::Dashboard, Self::Admin];

    /// The role's name in keys and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pos => "pos",
            Self::Service => "service",
            Self::Support => "support",
            Self::Moderator => "moderator",
            Self::Arbiter => "arbiter",
            Self::Dashboard => "dashboard",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| format!("{text:?} is not a role"))
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A service key.
    Service {
        /// The key's id: public, stable, stands in audit entries.
        key_id: String,
        /// What it is for.
        role: Role,
        /// The one shop of a till's key.
        shop: Option<ShopId>,
    },
    /// A customer, by a token of the shop's identity service.
    Customer {
        /// Who.
        customer_id: CustomerId,
    },
}

impl Principal {
    /// Passes service keys of one of `roles`.
    ///
    /// # Errors
    /// 403 for everyone else, customers included.
    pub fn require(&self, roles: &[Role]) -> Result<(), Problem> {
        match self {
            Self::Service { role, .. } if roles.contains(role) => Ok(()),
            Self::Service { role, .. } => Err(forbidden(&format!("the role {role} may not do this"))),
            Self::Customer { .. } => Err(forbidden("a customer may not do this")),
        }
    }

    /// Passes service keys of one of `roles`, and the customer `id` itself.
    ///
    /// # Errors
    /// 403 for other keys. 404 for another customer: whether `id` exists is none of its business.
    pub fn may_see_customer(&self, id: &CustomerId, roles: &[Role]) -> Result<(), Problem> {
        match self {
            Self::Customer { customer_id } if customer_id == id => Ok(()),
            Self::Customer { .. } => Err(Problem::not_found("there is no such customer, or it is not you")),
            Self::Service { .. } => self.require(roles),
        }
    }

    /// The scope of the credential's idempotency keys: two callers never meet in one key.
    #[must_use]
    pub fn scope(&self) -> String {
        match self {
            Self::Service { key_id, .. } => format!("key {key_id}"),
            Self::Customer { customer_id } => format!("customer {customer_id}"),
        }
    }

    /// Who answers for what is done: stands in audit entries.
    #[must_use]
    pub fn actor(&self) -> Actor {
        let name = match self {
            Self::Service { key_id, .. } => key_id.as_str(),
            Self::Customer { .. } => "customer",
        };
        // Ids of keys are made of an id's alphabet (see `auth::keys`); the fallback is never seen.
        Actor::new(name).or_else(|_| Actor::new("unknown")).unwrap_or_else(|_| unreachable!("`unknown` is an id"))
    }

    /// The shop that a till's key belongs to.
    #[must_use]
    pub const fn shop(&self) -> Option<&ShopId> {
        match self {
            Self::Service { shop, .. } => shop.as_ref(),
            Self::Customer { .. } => None,
        }
    }

    /// The role, where it is a service key.
    #[must_use]
    pub const fn role(&self) -> Option<Role> {
        match self {
            Self::Service { role, .. } => Some(*role),
            Self::Customer { .. } => None,
        }
    }
}

fn forbidden(detail: &str) -> Problem {
    Problem::new(Code::Forbidden, detail)
}

fn unauthenticated(detail: &str) -> Problem {
    metrics::counter!("adal_auth_refused_total").increment(1);
    Problem::new(Code::Unauthenticated, detail)
}

impl FromRequest for Principal {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(authenticate(req))
    }
}

fn authenticate(req: &HttpRequest) -> Result<Principal, Problem> {
    edge::note_route(req);
    let app = req.app_data::<Data<App>>().ok_or_else(|| Problem::internal("the app is not in the request"))?;
    let mut headers = req.headers().get_all(header::AUTHORIZATION);
    let (Some(header), None) = (headers.next(), headers.next()) else {
        return Err(unauthenticated(
            "one Authorization header is needed: Bearer and a service key or a customer's token",
        ));
    };
    let token = header
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(|| unauthenticated("Authorization: must be Bearer and a service key or a customer's token"))?;
    let principal = app
        .auth
        .authenticate(token, app.now())
        .ok_or_else(|| unauthenticated("the credential is unknown, revoked, expired or forged"))?;
    edge::note_principal(req, &principal);
    app.limits.admit(req, &principal)?;
    Ok(principal)
}

/// The key under which a change is done at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(pub String);

impl FromRequest for IdempotencyKey {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        // A change whose answer could not be written is refused before it is done.
        ready(negotiate(req).and_then(|_| {
            let lines: Vec<&[u8]> = req.headers().get_all("Idempotency-Key").map(|value| value.as_bytes()).collect();
            idempotency_key(&lines).map(Self)
        }))
    }
}

fn idempotency_key(lines: &[&[u8]]) -> Result<String, Problem> {
    let invalid = || {
        let detail = "Idempotency-Key: must be one header of 1-64 visible ASCII characters";
        Problem::new(Code::IdempotencyKeyInvalid, detail)
    };
    match lines {
        [] => Err(Problem::new(Code::IdempotencyKeyRequired, "Idempotency-Key: a change needs one")),
        [key] if (1..=64).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic) => {
            String::from_utf8(key.to_vec()).map_err(|_| invalid())
        }
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(role: Role) -> Principal {
        Principal::Service { key_id: "k1".to_owned(), role, shop: None }
    }

    fn customer(id: &str) -> Principal {
        Principal::Customer { customer_id: CustomerId::new(id).unwrap() }
    }

    #[test]
    fn admin_implies_no_other_role() {
        assert!(key(Role::Admin).require(&[Role::Admin]).is_ok());
        assert_eq!(key(Role::Admin).require(&[Role::Support]).unwrap_err().code(), Code::Forbidden);
        assert_eq!(customer("c1").require(&Role::ALL).unwrap_err().code(), Code::Forbidden);
    }

    #[test]
    fn another_customer_looks_like_nobody() {
        let own = CustomerId::new("c1").unwrap();
        assert!(customer("c1").may_see_customer(&own, &[]).is_ok());
        assert_eq!(customer("c2").may_see_customer(&own, &Role::ALL).unwrap_err().code(), Code::NotFound);
        assert_eq!(key(Role::Pos).may_see_customer(&own, &[Role::Service]).unwrap_err().code(), Code::Forbidden);
    }

    #[test]
    fn scopes_of_a_key_and_a_customer_never_meet() {
        assert_ne!(key(Role::Pos).scope(), customer("k1").scope());
        assert_eq!(key(Role::Pos).actor().as_str(), "k1");
        assert_eq!(customer("k1").actor().as_str(), "customer");
    }

    #[test]
    fn idempotency_keys_are_1_to_64_visible_characters() {
        assert_eq!(idempotency_key(&[b"a-1!"]).unwrap(), "a-1!");
        assert_eq!(idempotency_key(&[]).unwrap_err().code(), Code::IdempotencyKeyRequired);
        let long = [b'a'; 65];
        for wrong in [&[&b""[..]][..], &[b"a b"], &[&long], &["\u{e9}".as_bytes()], &[b"a", b"a"]] {
            assert_eq!(idempotency_key(wrong).unwrap_err().code(), Code::IdempotencyKeyInvalid);
        }
    }

    #[test]
    fn every_role_reads_back() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
    }
}
