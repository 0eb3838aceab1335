//! From what a till's scanner read to a customer: a QR text or a printed barcode. Used by scans, by checkouts that scan in
//! the same call, and by order events of tills that were offline.

use adal_domain::{
    card::Barcode,
    entity::View,
    errors::Code,
    ids::CustomerId,
    qr::{Intent, KeyRing, QrCode, QrError, Step},
    time::Timestamp,
};

use crate::{app::App, http::problem::Problem};

/// What a scanner read, its signature checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scanned {
    /// A QR code of ours.
    Qr(QrCode),
    /// The barcode printed on a card.
    Printed(Barcode),
}

impl Scanned {
    /// Reads what was scanned.
    ///
    /// # Errors
    /// See [`QrError`].
    pub fn read(ring: &KeyRing, text: &str) -> Result<Self, QrError> {
        match Barcode::parse(text) {
            Some(barcode) => Ok(Self::Printed(barcode)),
            None => ring.decode(text).map(Self::Qr),
        }
    }

    /// The card's barcode.
    #[must_use]
    pub const fn barcode(self) -> Barcode {
        match self {
            Self::Qr(code) => code.barcode,
            Self::Printed(barcode) => barcode,
        }
    }

    /// The code's intent: a printed barcode shows, and never pays.
    #[must_use]
    pub const fn intent(self) -> Intent {
        match self {
            Self::Qr(code) => code.intent,
            Self::Printed(_) => Intent::Show,
        }
    }

    /// The code's step; a printed barcode has none of its own.
    #[must_use]
    pub fn step(self, now: Timestamp) -> Step {
        match self {
            Self::Qr(code) => code.step,
            Self::Printed(_) => Step::of(now),
        }
    }

    /// Whether a QR code was made more than `hours` before or after `at`. A printed barcode has no age.
    #[must_use]
    pub fn is_older_than(self, hours: i64, at: Timestamp) -> bool {
        match self {
            Self::Qr(code) => {
                at.micros_since(code.step.start()).unsigned_abs() > hours.unsigned_abs().saturating_mul(3_600_000_000)
            }
            Self::Printed(_) => false,
        }
    }

    /// Why this code may not burn at `now`, by itself.
    #[must_use]
    pub fn no_burn(self, now: Timestamp) -> Option<Code> {
        match self {
            Self::Qr(QrCode { intent: Intent::Pay, step, .. }) if step.is_fresh(now) => None,
            Self::Qr(QrCode { intent: Intent::Pay, .. }) => Some(Code::QrExpired),
            Self::Qr(_) | Self::Printed(_) => Some(Code::QrShowOnly),
        }
    }
}

/// Reads a code that `terminal` sent, and counts it there where its signature is wrong.
///
/// # Errors
/// `qr_invalid`.
pub fn read(app: &App, terminal: &str, text: &str, now: Timestamp) -> Result<Scanned, Problem> {
    Scanned::read(&app.ring, text).map_err(|error| {
        // A text that is none of ours is a wrong product under the scanner; a wrong signature is somebody trying.
        if error != QrError::Unreadable {
            app.terminals.wrong(terminal, now);
        }
        unread()
    })
}

/// Why a text was not read. Nobody is told which of the reasons it was: that would help to forge one.
fn unread() -> Problem {
    Problem::new(Code::QrInvalid, "code: neither a QR code of ours nor a card's barcode")
}

/// The card's owner.
///
/// # Errors
/// `card_not_found`, where no card has this barcode (any more).
pub async fn owner(app: &App, barcode: Barcode) -> Result<CustomerId, Problem> {
    if let Some(id) = app.barcodes.get(&barcode) {
        if app.customers.read(id.as_str()).await?.state.barcode() == Some(barcode) {
            return Ok(id);
        }
        app.barcodes.remove(&barcode);
    }
    let missing = || Problem::new(Code::CardNotFound, "code: no card has this barcode (any more)");
    let row = app.views.get(View::CardByBarcode, &barcode.to_string()).await?.ok_or_else(missing)?;
    let id = CustomerId::new(&row.entity.id).map_err(|_| missing())?;
    app.barcodes.insert(barcode, id.clone());
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pay(step: u32) -> Scanned {
        Scanned::Qr(QrCode { intent: Intent::Pay, barcode: Barcode::of_number(1), step: Step(step) })
    }

    #[test]
    fn only_a_fresh_pay_code_may_burn() {
        let now = Step(1000).start().plus_seconds(29);
        for (step, why) in
            [(998, Some(Code::QrExpired)), (999, None), (1000, None), (1001, None), (1002, Some(Code::QrExpired))]
        {
            assert_eq!(pay(step).no_burn(now), why, "{step}");
        }
        let show = Scanned::Qr(QrCode { intent: Intent::Show, barcode: Barcode::of_number(1), step: Step(1000) });
        assert_eq!(show.no_burn(now), Some(Code::QrShowOnly));
        assert_eq!(Scanned::Printed(Barcode::of_number(1)).no_burn(now), Some(Code::QrShowOnly));
    }

    #[test]
    fn a_code_ages_and_a_barcode_does_not() {
        let made = Step(1_000_000).start();
        assert!(!pay(1_000_000).is_older_than(24, made.plus_seconds(24 * 3600)));
        assert!(pay(1_000_000).is_older_than(24, made.plus_seconds(24 * 3600 + 1)));
        assert!(!Scanned::Printed(Barcode::of_number(1)).is_older_than(24, made.plus_seconds(1 << 40)));
    }
}
