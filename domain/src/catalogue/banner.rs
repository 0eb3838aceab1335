//! Banners: what one shows, where, to whom and when. Pure; whether its offer would be granted is the engine's business.

use serde::{Deserialize, Serialize};

use crate::{
    checkout::Channel,
    errors::{Code, Refusal},
    ids::{OfferId, ShopId, Word},
    offers::{
        Offer, OfferKind, Shopper, check_shopper,
        document::{Locale, PeriodLimit, Status, Weekday, Window},
    },
    policy::Tier,
    time::Timestamp,
};

/// Values of any list.
pub const MAX_LIST: usize = 1000;
/// Weekly windows.
pub const MAX_WINDOWS: usize = 50;
/// Bytes of a title or an alternative text.
pub const MAX_TITLE_BYTES: usize = 500;
/// Bytes of a text or a link.
pub const MAX_TEXT_BYTES: usize = 4000;
/// Servings that a frequency may name.
pub const MAX_SERVINGS: i64 = 1000;
/// Priorities lie between this and its negative.
pub const MAX_PRIORITY: i32 = 1_000_000;

/// A banner, as `PUT /v1/banners/{id}` takes it. All but `placement` and `texts` may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Banner {
    /// Where it is shown.
    pub placement: Placement,
    /// On the pages of these categories alone (placement `category`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>))]
    pub categories: Option<Vec<Word>>,
    /// What it says, by language; one at least. Where a language is missing it is not shown.
    pub texts: Texts,
    /// Who sees it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub audience: Audience,
    /// Weekly windows by the shop's clock; always where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<Vec<Window>>,
    /// The first moment at which it is shown.
    #[serde(default, with = "crate::time::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub starts_at: Option<Timestamp>,
    /// The first moment at which it is no longer shown.
    #[serde(default, with = "crate::time::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub ends_at: Option<Timestamp>,
    /// The offer that it is about: it is shown only to whom that would be granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub offer: Option<OfferId>,
    /// How often one customer is served it; as often as asked where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency: Option<Frequency>,
    /// Highest first; then by id.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: i32,
    /// Whether it is in force.
    #[serde(default, skip_serializing_if = "is_default")]
    pub status: Status,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Where a banner is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Placement {
    /// The first page.
    Home,
    /// Pages of categories.
    Category,
}

impl Placement {
    /// The word in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Category => "category",
        }
    }
}

/// What a banner says, by language.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Texts {
    /// Russian.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ru: Option<BannerText>,
    /// Kazakh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kk: Option<BannerText>,
    /// English.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub en: Option<BannerText>,
}

impl Texts {
    /// The text in a language.
    #[must_use]
    pub const fn of(&self, locale: Locale) -> Option<&BannerText> {
        match locale {
            Locale::Ru => self.ru.as_ref(),
            Locale::Kk => self.kk.as_ref(),
            Locale::En => self.en.as_ref(),
        }
    }
}

/// What a banner says in one language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BannerText {
    /// The headline.
    pub title: String,
    /// What stands below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Where the picture is; nothing is fetched from there by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Where a click leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// Who sees a banner: all that is named must hold. Nobody known has no tier, segment or trust.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Audience {
    /// One of these tiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiers: Option<Vec<Tier>>,
    /// In one of these segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>))]
    pub segments: Option<Vec<Word>>,
    /// Least trust score, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_trust: Option<i64>,
    /// One of these channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<Channel>>,
    /// One of these shops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>))]
    pub shops: Option<Vec<ShopId>>,
}

/// How often one customer is served a banner.
pub type Frequency = PeriodLimit;

/// Who asks for banners, and where.
#[derive(Debug, Clone)]
pub struct Viewer<'a> {
    /// Who: what the engine knows of a shopper.
    pub shopper: &'a Shopper,
    /// Through what; `None`: not said, which meets no condition on it.
    pub channel: Option<Channel>,
    /// In which shop.
    pub shop: Option<&'a ShopId>,
    /// The category of the page.
    pub category: Option<&'a Word>,
    /// Day of the week from Monday (0), and minute of the day, by the shop's clock.
    pub clock: (u8, u16),
}

impl Banner {
    /// Whether it is to be shown at `now` as far as its own document says: its offer (see [`is_open_to`]) and its
    /// frequency are looked at elsewhere.
    #[must_use]
    pub fn is_for(&self, viewer: &Viewer<'_>, now: Timestamp) -> bool {
        let Audience { tiers, segments, min_trust, channels, shops } = &self.audience;
        let shopper = viewer.shopper;
        is_in_force(self.status, self.starts_at, self.ends_at, now)
            && is_within(self.windows.as_deref(), viewer.clock)
            && is_one_of(self.categories.as_deref(), viewer.category)
            && is_one_of(channels.as_deref(), viewer.channel.as_ref())
            && is_one_of(shops.as_deref(), viewer.shop)
            && is_one_of(tiers.as_deref(), shopper.tier.as_ref())
            && segments.as_ref().is_none_or(|wanted| shopper.segments.iter().any(|segment| wanted.contains(segment)))
            && min_trust.is_none_or(|least| shopper.trust.is_some_and(|trust| trust >= least))
    }
}

/// Whether the engine would grant an offer to somebody at `now`, by all of its conditions that look at no cart: nobody is
/// shown what no cart of theirs could have. Its limits are the promo's own state.
#[must_use]
pub fn is_open_to(kind: OfferKind, offer: &Offer, viewer: &Viewer<'_>, now: Timestamp) -> bool {
    let conditions = &offer.conditions;
    let is_on = match kind {
        OfferKind::Promo => viewer.shopper.promos,
        OfferKind::Campaign => viewer.shopper.campaigns,
    };
    is_on
        && is_in_force(offer.status, offer.starts_at, offer.ends_at, now)
        && is_within(conditions.windows.as_deref(), viewer.clock)
        // Where the viewer is not in a shop yet, or has not said through what it will buy, it may still be the right one.
        && viewer.channel.is_none_or(|channel| is_one_of(conditions.channels.as_deref(), Some(&channel)))
        && viewer.shop.is_none_or(|shop| is_one_of(conditions.shops.as_deref(), Some(shop)))
        // Where a list is empty, none is.
        && conditions.channels.as_ref().is_none_or(|all| !all.is_empty())
        && conditions.shops.as_ref().is_none_or(|all| !all.is_empty())
        && check_shopper(conditions, viewer.shopper).is_ok()
}

fn is_in_force(status: Status, starts_at: Option<Timestamp>, ends_at: Option<Timestamp>, now: Timestamp) -> bool {
    status == Status::Active && starts_at.is_none_or(|starts| now >= starts) && ends_at.is_none_or(|ends| now < ends)
}

fn is_one_of<T: PartialEq>(list: Option<&[T]>, value: Option<&T>) -> bool {
    list.is_none_or(|list| value.is_some_and(|value| list.contains(value)))
}

fn is_within(windows: Option<&[Window]>, clock: (u8, u16)) -> bool {
    windows.is_none_or(|all| all.iter().any(|window| holds(window, clock)))
}

fn holds(window: &Window, (weekday, minute): (u8, u16)) -> bool {
    let is_day = |day: &Weekday| *day as u8 == weekday;
    window.days.as_ref().is_none_or(|days| days.iter().any(is_day))
        && (window.from.minutes()..window.to.minutes()).contains(&minute)
}

fn fail(detail: impl Into<String>) -> Result<(), Refusal> {
    Err(Refusal::new(Code::BannerInvalid, detail))
}

/// Checks the document as a whole.
///
/// # Errors
/// `banner_invalid`, naming the field (both, where two contradict each other) and the rule.
pub fn validate(banner: &Banner) -> Result<(), Refusal> {
    texts(&banner.texts)?;
    if banner.placement == Placement::Home && banner.categories.is_some() {
        return fail("placement, categories: the first page belongs to no category");
    }
    let a = &banner.audience;
    for (field, length) in [
        ("categories", banner.categories.as_ref().map_or(0, Vec::len)),
        ("audience.tiers", a.tiers.as_ref().map_or(0, Vec::len)),
        ("audience.segments", a.segments.as_ref().map_or(0, Vec::len)),
        ("audience.channels", a.channels.as_ref().map_or(0, Vec::len)),
        ("audience.shops", a.shops.as_ref().map_or(0, Vec::len)),
    ] {
        if length > MAX_LIST {
            return fail(format!("{field}: {length} given, at most {MAX_LIST}"));
        }
    }
    if a.min_trust.is_some_and(|trust| !(0..=100).contains(&trust)) {
        return fail("audience.min_trust: must be 0 to 100");
    }
    if banner.frequency.is_some_and(|frequency| !(1..=MAX_SERVINGS).contains(&frequency.uses)) {
        return fail(format!("frequency.uses: must be 1 to {MAX_SERVINGS}"));
    }
    if !(-MAX_PRIORITY..=MAX_PRIORITY).contains(&banner.priority) {
        return fail(format!("priority: must be -{MAX_PRIORITY} to {MAX_PRIORITY}"));
    }
    windows(banner.windows.as_deref().unwrap_or_default())?;
    if let (Some(starts), Some(ends)) = (banner.starts_at, banner.ends_at)
        && ends <= starts
    {
        return fail(format!("starts_at, ends_at: it ends ({ends}) before it starts ({starts})"));
    }
    Ok(())
}

fn texts(texts: &Texts) -> Result<(), Refusal> {
    let all = [("ru", &texts.ru), ("kk", &texts.kk), ("en", &texts.en)];
    if all.iter().all(|(_, text)| text.is_none()) {
        return fail("texts: one language at least");
    }
    for (locale, text) in all {
        let Some(text) = text else { continue };
        if text.title.trim().is_empty()
            || text.title.len() > MAX_TITLE_BYTES
            || text.title.chars().any(char::is_control)
        {
            return fail(format!("texts.{locale}.title: must be 1-{MAX_TITLE_BYTES} bytes without control characters"));
        }
        if text.text.as_ref().is_some_and(|text| text.len() > MAX_TEXT_BYTES) {
            return fail(format!("texts.{locale}.text: at most {MAX_TEXT_BYTES} bytes"));
        }
        for (field, link) in [("image", &text.image), ("link", &text.link)] {
            if link.as_ref().is_some_and(|link| !is_link(link)) {
                return fail(format!(
                    "texts.{locale}.{field}: must begin with https://, http:// or / and have at most {MAX_TEXT_BYTES} \
                     bytes, without spaces"
                ));
            }
        }
    }
    Ok(())
}

/// What an app may open without a thought: `javascript:` and the like are not.
fn is_link(link: &str) -> bool {
    let known = ["https://", "http://", "/"].iter().any(|start| link.starts_with(start));
    known && link.len() <= MAX_TEXT_BYTES && !link.chars().any(|c| c.is_control() || c.is_whitespace())
}

fn windows(windows: &[Window]) -> Result<(), Refusal> {
    if windows.len() > MAX_WINDOWS {
        return fail(format!("windows: {} given, at most {MAX_WINDOWS}", windows.len()));
    }
    for (i, window) in windows.iter().enumerate() {
        if window.days.as_ref().is_some_and(|days| days.is_empty() || days.len() > 7) {
            return fail(format!("windows[{i}].days: one to seven days; left out: every day"));
        }
        if window.to <= window.from {
            return fail(format!(
                "windows[{i}].from, windows[{i}].to: it ends ({}) before it starts ({}); a window over midnight is two",
                window.to, window.from
            ));
        }
    }
    Ok(())
}

/// What a document says that can hardly be meant: lists that match nobody.
#[must_use]
pub fn warnings(banner: &Banner) -> Vec<String> {
    let a = &banner.audience;
    [
        ("categories", banner.categories.as_ref().is_some_and(Vec::is_empty)),
        ("audience.tiers", a.tiers.as_ref().is_some_and(Vec::is_empty)),
        ("audience.segments", a.segments.as_ref().is_some_and(Vec::is_empty)),
        ("audience.channels", a.channels.as_ref().is_some_and(Vec::is_empty)),
        ("audience.shops", a.shops.as_ref().is_some_and(Vec::is_empty)),
        ("windows", banner.windows.as_ref().is_some_and(Vec::is_empty)),
    ]
    .into_iter()
    .filter(|(_, is_empty)| *is_empty)
    .map(|(field, _)| format!("{field}: is empty, so that the banner is shown to nobody"))
    .collect()
}
