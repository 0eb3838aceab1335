//! What an offer did, said to people: its name, what it gives, and how often. In the three languages that people read.

use crate::offers::{
    document::{Discount, Locale, Offer, Per, Target},
    outcome::Applied,
};

impl Applied {
    /// "2 for 1 on yoghurt: 1 of 2 free, 3 times".
    #[must_use]
    pub fn explanation(&self, locale: Locale) -> String {
        let offer = &*self.offer;
        format!("{}: {}{}", offer.name.text(locale), gives(offer, self.pieces, locale), often(self, locale))
    }
}

/// The one of three texts that is in the language.
const fn say<'a>(locale: Locale, ru: &'a str, kk: &'a str, en: &'a str) -> &'a str {
    match locale {
        Locale::Ru => ru,
        Locale::Kk => kk,
        Locale::En => en,
    }
}

/// 1250 permyriad as 12.5.
fn hundredths(number: i64) -> String {
    match (number / 100, number % 100) {
        (whole, 0) => whole.to_string(),
        (whole, rest) if rest % 10 == 0 => format!("{whole}.{}", rest / 10),
        (whole, rest) => format!("{whole}.{rest:02}"),
    }
}

/// Minor units as tenge.
fn money(minor: i64) -> String {
    match (minor / 100, minor % 100) {
        (tenge, 0) => format!("{tenge} ₸"),
        (tenge, tiyn) => format!("{tenge}.{tiyn:02} ₸"),
    }
}

fn percent(permyriad: u32, locale: Locale) -> String {
    let share = hundredths(i64::from(permyriad));
    match locale {
        Locale::Ru => format!("скидка {share} %"),
        Locale::Kk => format!("{share} % жеңілдік"),
        Locale::En => format!("{share} % off"),
    }
}

fn gives(offer: &Offer, pieces: i64, locale: Locale) -> String {
    let what = match &offer.discount {
        Discount::Percent { permyriad, .. } => percent(*permyriad, locale),
        Discount::Amount { minor, per, .. } => {
            let each = match per {
                Per::Selection => "",
                Per::Piece => say(locale, " с каждой штуки", ", әр данадан", " each piece"),
                Per::Line => say(locale, " с каждой позиции", ", әр тауардан", " each line"),
            };
            match locale {
                Locale::Ru => format!("скидка {}{each}", money(*minor)),
                Locale::Kk => format!("{} жеңілдік{each}", money(*minor)),
                Locale::En => format!("{} off{each}", money(*minor)),
            }
        }
        Discount::FixedPrice { minor, .. } => {
            format!("{} {}", say(locale, "по цене", "бағасы", "at"), money(*minor))
        }
        Discount::BuyXGetY { buy, get, permyriad: 10_000, .. } => match (locale, buy + get) {
            (Locale::Ru, of) => format!("{get} из {of} бесплатно"),
            (Locale::Kk, of) => format!("{of} дана ішінен {get} тегін"),
            (Locale::En, of) => format!("{get} of {of} free"),
        },
        Discount::BuyXGetY { buy, get, permyriad, .. } => match (locale, buy + get) {
            (Locale::Ru, of) => format!("{get} из {of}, {}", percent(*permyriad, locale)),
            (Locale::Kk, of) => format!("{of} дана ішінен {get}, {}", percent(*permyriad, locale)),
            (Locale::En, of) => format!("{get} of {of} at {}", percent(*permyriad, locale)),
        },
        Discount::BundlePrice { quantity, minor, .. } => {
            format!("{quantity} {} {}", say(locale, "за", "дана", "for"), money(*minor))
        }
        Discount::FreeItem { .. } => match locale {
            Locale::Ru => format!("бесплатно, штук: {pieces}"),
            Locale::Kk => format!("{pieces} дана тегін"),
            Locale::En => format!("{pieces} free"),
        },
        Discount::FreeDelivery {} => say(locale, "бесплатная доставка", "тегін жеткізу", "free delivery").to_owned(),
        Discount::PointsMultiplier { permyriad } => {
            format!("{} × {}", say(locale, "баллы", "ұпайлар", "points"), hundredths(i64::from(permyriad / 100)))
        }
        Discount::BonusPoints { points } => match locale {
            Locale::Ru => format!("баллы: +{points}"),
            Locale::Kk => format!("+{points} ұпай"),
            Locale::En => format!("+{points} points"),
        },
    };
    if offer.target == Target::Delivery && !matches!(offer.discount, Discount::FreeDelivery {}) {
        what + say(locale, " на доставку", ", жеткізуге", " on delivery")
    } else {
        what
    }
}

fn often(applied: &Applied, locale: Locale) -> String {
    let (count, ru, kk, en) = match (&applied.offer.discount, applied.times, applied.pieces) {
        (Discount::FreeItem { .. }, ..) | (_, 0, 0) => return String::new(),
        (_, 0, pieces) => (pieces, "штук", "дана", if pieces == 1 { "piece" } else { "pieces" }),
        (_, times, _) => (times, "раз", "рет", if times == 1 { "time" } else { "times" }),
    };
    match locale {
        Locale::Ru => format!(", {ru}: {count}"),
        Locale::Kk => format!(", {count} {kk}"),
        Locale::En => format!(", {count} {en}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::{ids::OfferId, offers::OfferKind};

    fn said(discount: Value, pieces: i64, times: i64, locale: Locale) -> String {
        let offer: Offer = serde_json::from_value(json!({
            "name": {"ru": "Йогурт", "kk": "Йогурт", "en": "Yoghurt"}, "discount": discount,
            "target": if discount["minor"] == json!(7_000) { "delivery" } else { "order" }
        }))
        .unwrap();
        let applied = Applied {
            offer_id: OfferId::new("a").unwrap(),
            kind: OfferKind::Campaign,
            offer: Arc::new(offer),
            code: None,
            discount_minor: 1,
            delivery_minor: 0,
            shares: vec![],
            bonus_points: 0,
            extra_permyriad: 0,
            multiplied: vec![],
            pieces,
            times,
        };
        applied.explanation(locale)
    }

    #[test]
    fn an_explanation_says_what_and_how_often() {
        let two_for_one = json!({"type": "buy_x_get_y", "buy": 1, "get": 1});
        assert_eq!(said(two_for_one.clone(), 3, 3, Locale::En), "Yoghurt: 1 of 2 free, 3 times");
        assert_eq!(said(two_for_one.clone(), 3, 3, Locale::Ru), "Йогурт: 1 из 2 бесплатно, раз: 3");
        assert_eq!(said(two_for_one, 3, 3, Locale::Kk), "Йогурт: 2 дана ішінен 1 тегін, 3 рет");
        for (discount, pieces, times, text) in [
            (json!({"type": "percent", "permyriad": 1250}), 0, 0, "12.5 % off"),
            (json!({"type": "percent", "permyriad": 1005, "max_pieces": 1}), 1, 0, "10.05 % off, 1 piece"),
            (json!({"type": "amount", "minor": 50_000, "per": "line"}), 0, 0, "500 ₸ off each line"),
            (json!({"type": "amount", "minor": 7_000}), 0, 0, "70 ₸ off on delivery"),
            (json!({"type": "fixed_price", "minor": 99_950}), 0, 0, "at 999.50 ₸"),
            (json!({"type": "buy_x_get_y", "buy": 2, "get": 1, "permyriad": 5000}), 1, 1, "1 of 3 at 50 % off, 1 time"),
            (json!({"type": "bundle_price", "quantity": 3, "minor": 200_000}), 6, 2, "3 for 2000 ₸, 2 times"),
            (json!({"type": "free_item", "sku": "mug", "quantity": 2}), 1, 0, "1 free"),
            (json!({"type": "points_multiplier", "permyriad": 25_000}), 0, 0, "points × 2.5"),
            (json!({"type": "bonus_points", "points": 500}), 0, 0, "+500 points"),
        ] {
            assert_eq!(said(discount, pieces, times, Locale::En), format!("Yoghurt: {text}"));
        }
    }
}
