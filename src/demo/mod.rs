//! `adal demo`: a shop to try things on.
//!
//! The server of `adal serve` on a store of its own, with customers whose history was made by the same commands that a
//! shop's systems would send, a little live traffic that ends by itself, and printed keys and commands. The identity
//! service that signs customers' tokens is played by a key pair that is made at each start.

mod catalogue;
mod history;
mod traffic;

use std::{
    error::Error,
    fmt::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use adal_actors::ports::Clock;
use adal_domain::ids::{CustomerId, ShopId};

use crate::{
    app::App,
    auth::{
        jwt::Identity,
        keys::{NewKey, generate},
    },
    cli::{
        Done,
        serve::{Running, Signals},
    },
    clock::SystemClock,
    config::Config,
    http::extract::Role,
    logging,
};

/// The shop of the demo.
pub(crate) const SHOP: &str = "s1";
/// The customer that the printed commands are about.
const CUSTOMER: &str = "aigerim";
/// How keys of the demo are known: those of an earlier run are revoked.
const LABEL: &str = "demo";

/// What the demo is to do.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// The demo's database; kept, so that a second start goes on where the first ended.
    #[arg(long, value_name = "FILE", default_value = "data/demo.db")]
    data: PathBuf,
    /// No live traffic.
    #[arg(long)]
    quiet: bool,
}

/// Runs the demo until a signal.
///
/// # Errors
/// As `adal serve`.
pub(crate) fn run(mut config: Config, args: &DemoArgs) -> Done {
    config.store.sqlite.path.clone_from(&args.data);
    // Lines about every request would hide what is to be read.
    config.log.level = "warn".to_owned();
    logging::init(&config.log)?;
    let identity = Identity::generate()?;
    let pem = write_identity(&identity, &args.data)?;
    config.auth.jwt.public_key_files.push(pem);
    config.auth.jwt.issuer.clear();
    config.auth.jwt.audience.clear();
    actix_rt::System::new().block_on(async {
        let mut signals = Signals::new()?;
        let running = Running::start(config).await?;
        let keys = Keys::make(&running.app, &identity).await?;
        catalogue::make(&running.app).await?;
        eprintln!("making the demo's history ...");
        history::make(&running.app).await?;
        print!("{}", guide(&running, &keys)?);
        if !args.quiet {
            actix_rt::spawn(traffic::run(Arc::downgrade(&running.app)));
        }
        signals.next().await;
        tokio::select! {
            () = running.stop() => Ok(ExitCode::SUCCESS),
            () = signals.next() => std::process::exit(130),
        }
    })
}

fn write_identity(identity: &Identity, database: &Path) -> Result<PathBuf, Box<dyn Error>> {
    if let Some(folder) = database.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let path = database.with_extension("identity.pem");
    std::fs::write(&path, identity.public_pem())?;
    Ok(path)
}

/// The credentials of one run.
struct Keys {
    pos: String,
    service: String,
    support: String,
    admins: [String; 2],
    customer: String,
}

impl Keys {
    async fn make(app: &App, identity: &Identity) -> Result<Self, Box<dyn Error>> {
        let now = SystemClock.now();
        for old in app.store.list_api_keys().await? {
            if old.label.as_deref() == Some(LABEL) && old.revoked_at.is_none() {
                app.store.revoke_api_key(&old.id, now).await?;
            }
        }
        let shop = ShopId::new(SHOP)?;
        let make = async |role: Role| -> Result<String, Box<dyn Error>> {
            let shop = (role == Role::Pos).then_some(&shop);
            let NewKey { key, record } = generate(role, shop, Some(LABEL.to_owned()), now)?;
            app.store.put_api_key(record).await?;
            Ok(key)
        };
        let keys = Self {
            pos: make(Role::Pos).await?,
            service: make(Role::Service).await?,
            support: make(Role::Support).await?,
            admins: [make(Role::Admin).await?, make(Role::Admin).await?],
            customer: identity.token(&CustomerId::new(CUSTOMER)?, now.plus_seconds(86_400))?,
        };
        app.auth.refresh(&*app.store).await?;
        Ok(keys)
    }
}

fn guide(running: &Running, keys: &Keys) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(text, "\nAdal demo, on {}\n", running.app.store.place())?;
    writeln!(text, "  server     {}", running.server.url())?;
    writeln!(text, "  interface  {}/docs", running.server.url())?;
    if let Some(exporter) = &running.exporter {
        writeln!(text, "  metrics    http://{}/metrics", exporter.addr)?;
    }
    writeln!(text, "\nPaste this into a shell (curl, jq and zbarimg are used):\n")?;
    writeln!(text, "export ADAL={}", running.server.url())?;
    writeln!(text, "export POS={}      # a till of shop {SHOP}", keys.pos)?;
    writeln!(text, "export SERVICE={}  # the shop's systems", keys.service)?;
    writeln!(text, "export SUPPORT={}  # a support agent", keys.support)?;
    writeln!(text, "export ADMIN={}    # one admin", keys.admins[0])?;
    writeln!(text, "export ADMIN2={}   # and another, for approvals", keys.admins[1])?;
    writeln!(text, "export TOKEN={}  # {CUSTOMER}'s own token, for a day", keys.customer)?;
    text.push_str(COMMANDS);
    writeln!(text, "\nCustomers with a history: {}", history::names().join(", "))?;
    writeln!(text, "Stop with Ctrl-C; the next start goes on from here with new keys.\n")?;
    Ok(text)
}

/// What to try, in an order that works. `aigerim` is [`CUSTOMER`].
const COMMANDS: &str = r#"
# A card for somebody new
YOU=you-$RANDOM
curl -s -X POST $ADAL/v1/customers/$YOU/card -H "Authorization: Bearer $SERVICE" -H "Idempotency-Key: card-$RANDOM" | jq

# Aigerim's card, and her QR code that may pay (valid for 30 seconds)
curl -s $ADAL/v1/customers/aigerim/card -H "Authorization: Bearer $TOKEN" | jq
curl -s "$ADAL/v1/customers/aigerim/card/qr?intent=pay" -H "Authorization: Bearer $TOKEN" -H "Accept: image/png" -o qr.png

# The till scans it
CODE=$(zbarimg -q --nodbus --raw qr.png)
SCAN=$(jq -n --arg code "$CODE" '{$code}' | curl -s $ADAL/v1/pos/scan -H "Authorization: Bearer $POS" -H "Content-Type: application/json" -d @- | tee /dev/stderr | jq -r .scan_id)

# The till holds a cart, 100 points of it paid in points, and takes it
ORDER=o-$RANDOM
CART='{"customer_id":"aigerim","shop_id":"s1","channel":"pos","points_to_burn":100,"lines":[{"line_id":"1","sku":"milk","quantity":2,"unit":"piece","unit_price_minor":65000},{"line_id":"2","sku":"apples","quantity":1350,"unit":"gram","unit_price_minor":89000}]}'
HOLD=$(jq -n --argjson cart "$CART" --arg scan "$SCAN" '$cart + {scan_id: $scan}' | curl -s $ADAL/v1/checkout/holds -H "Authorization: Bearer $POS" -H "Content-Type: application/json" -H "Idempotency-Key: hold-$ORDER" -d @- | tee /dev/stderr | jq -r .hold.hold_id)
jq -n --arg order "$ORDER" '{order_id: $order}' | curl -s $ADAL/v1/checkout/holds/$HOLD/capture -H "Authorization: Bearer $POS" -H "Content-Type: application/json" -H "Idempotency-Key: capture-$ORDER" -d @- | jq

# The shop's systems say what became of the order: it earns
jq -n --arg o "$ORDER" --argjson cart "$CART" '(now | todate) as $at | {order_id: $o, customer_id: "aigerim", shop_id: "s1", $at} | [. + {event_id: ($o + "-placed"), type: "placed", lines: $cart.lines}, . + {event_id: ($o + "-completed"), type: "completed", paid_minor: 240150}]' | curl -s $ADAL/v1/orders/events -H "Authorization: Bearer $SERVICE" -H "Content-Type: application/json" -d @- | jq

# Her card again: the cashback is pending until tomorrow; her tier, her statement, her trust, what looks odd
curl -s $ADAL/v1/customers/aigerim/card -H "Authorization: Bearer $TOKEN" | jq '{tier, balance, available, held, pending}'
curl -s "$ADAL/v1/customers/aigerim/points/statement?limit=5" -H "Authorization: Bearer $TOKEN" | jq
curl -s $ADAL/v1/customers/aigerim/trust -H "Authorization: Bearer $SUPPORT" | jq
curl -s $ADAL/v1/signals -H "Authorization: Bearer $SUPPORT" | jq

# The catalogue: what WELCOME10 is, what it was used for, and what is shown to her in the app
curl -s $ADAL/v1/promos/welcome -H "Authorization: Bearer $ADMIN" | jq
curl -s $ADAL/v1/promos/welcome/usage -H "Authorization: Bearer $ADMIN" | jq
curl -s "$ADAL/v1/banners?placement=home&locale=ru" -H "Authorization: Bearer $TOKEN" | jq

# A cart in the app, priced: what counts, and why each other offer does not
CART=$(jq -n --arg you "$YOU" '{customer_id: $you, shop_id: "s1", channel: "app", codes: ["FLASH50"], lines: [{line_id: "1", sku: "bread", quantity: 20, unit: "piece", unit_price_minor: 45000}]}')
jq -n --argjson cart "$CART" '$cart + {explain: true}' | curl -s $ADAL/v1/checkout/quotes -H "Authorization: Bearer $SERVICE" -H "Content-Type: application/json" -d @- | jq '{subtotal_minor, discount_minor, total_minor, applied: (.applied | map({offer_id, explanation})), rejected: (.rejected | map({offer_id, reason, condition}))}'

# Its use of the flash code: held, taken, and given back with the cancelled order
USAGE() { for _ in {1..50}; do curl -s $ADAL/v1/promos/flash/usage -H "Authorization: Bearer $ADMIN" | jq -ce --argjson expected "$1" 'select([.held, .taken] == $expected) | {held, taken, discount_minor}' && return; sleep 0.1; done; }
ORDER=o-$RANDOM
HOLD=$(curl -s $ADAL/v1/checkout/holds -H "Authorization: Bearer $SERVICE" -H "Content-Type: application/json" -H "Idempotency-Key: hold-$ORDER" -d "$CART" | tee /dev/stderr | jq -r .hold.hold_id)
USAGE '[1, 0]'
jq -n --arg order "$ORDER" '{order_id: $order}' | curl -s $ADAL/v1/checkout/holds/$HOLD/capture -H "Authorization: Bearer $SERVICE" -H "Content-Type: application/json" -H "Idempotency-Key: capture-$ORDER" -d @- | jq -c '{state, order_id, total_minor, uncovered}'
USAGE '[0, 1]'
jq -n --arg o "$ORDER" --arg you "$YOU" '{event_id: ($o + "-cancelled"), type: "cancelled", order_id: $o, customer_id: $you, shop_id: "s1", at: (now | todate), by: "shop"}' | curl -s $ADAL/v1/orders/events -H "Authorization: Bearer $SERVICE" -H "Content-Type: application/json" -d @- | jq -c
USAGE '[0, 0]'

# 5,000 points by hand take two people
APPROVAL=$(curl -s -X POST $ADAL/v1/customers/aigerim/points/adjust -H "Authorization: Bearer $ADMIN" -H "Content-Type: application/json" -H "Idempotency-Key: adjust-$RANDOM" -d '{"points":5000,"reason":"a good customer"}' | tee /dev/stderr | jq -r .approval_id)
curl -s -X POST $ADAL/v1/approvals/$APPROVAL/approve -H "Authorization: Bearer $ADMIN2" -H "Idempotency-Key: approve-$RANDOM" | jq
"#;
