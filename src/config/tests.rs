use adal_store::cql::CqlConfig;

use super::*;

fn read(file: &str) -> Result<Config, ConfigError> {
    Config::read(file, Env::prefixed("ADAL__").only(&[]))
}

#[test]
fn the_file_of_defaults_says_what_the_code_says() {
    let config = Config::defaults().unwrap();
    assert_eq!(config.policy, Policy::default());
    assert_eq!(config.server.listen, "127.0.0.1:8080");
    assert_eq!(config.metrics.listen, "127.0.0.1:9464");
    let (ours, theirs) = (config.actors.to_registry(), RegistryConfig::default());
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    let (ours, theirs) = (config.store.sqlite.to_store(), SqliteConfig::new("data/adal.db"));
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    // What this server is called is its host's name: the file cannot know it.
    let (ours, theirs) = (config.store.cql.to_store(), CqlConfig::new(Vec::new(), "till-7"));
    assert!(!ours.node.is_empty());
    assert_eq!((ours.max_in_flight, ours.max_handles), (theirs.max_in_flight, theirs.max_handles));
    assert_eq!(
        [ours.request_timeout, ours.append_deadline, ours.dead_after, ours.beat_every, ours.confirmed_within],
        [theirs.request_timeout, theirs.append_deadline, theirs.dead_after, theirs.beat_every, theirs.confirmed_within]
    );
}

#[test]
fn a_customers_queue_takes_a_whole_list_of_events() {
    let refused = read("[actors]\nqueue_per_entity = 499\n").unwrap_err().to_string();
    assert!(refused.contains("actors.queue_per_entity") && refused.contains("500"), "{refused}");
    read("[actors]\nqueue_per_entity = 500\n").unwrap();
}

#[test]
fn what_the_clock_is_believed_by_has_bounds() {
    for (text, key) in [
        ("[clock]\nmax_step_s = 0\n", "clock"),
        ("[clock]\nadopt_after_s = 0\n", "clock"),
        ("[actors]\nremember_for_h = 745\n", "actors.remember_for_h"),
    ] {
        let refused = read(text).unwrap_err().to_string();
        assert!(refused.contains(key), "{text}: {refused}");
    }
    read("[clock]\nmax_step_s = 1\nadopt_after_s = 1\n[actors]\nremember_for_h = 744\n").unwrap();
}

#[test]
fn every_key_is_documented_in_the_file_of_defaults() {
    fn leaves(prefix: &str, value: &toml::Value, all: &mut Vec<String>) {
        match value {
            toml::Value::Table(table) => {
                table.iter().for_each(|(key, value)| leaves(&format!("{prefix}.{key}"), value, all));
            }
            _ => all.push(prefix.to_owned()),
        }
    }
    let (mut ours, mut documented) = (Vec::new(), Vec::new());
    leaves("", &toml::Value::try_from(Config::defaults().unwrap()).unwrap(), &mut ours);
    leaves("", &toml::from_str(DEFAULT).unwrap(), &mut documented);
    ours.sort();
    documented.sort();
    assert_eq!(ours, documented);
    // Each key, or the group of keys that it stands in, has a comment above it.
    let mut commented = false;
    for line in DEFAULT.lines() {
        match line.trim() {
            "" => commented = false,
            text if text.starts_with('#') => commented = true,
            text if text.starts_with('[') => {
                commented |= text.starts_with("[flags.") || text.starts_with("[limits.");
            }
            text if text.starts_with("keyspace") => {}
            text => assert!(commented, "{text}"),
        }
    }
}

#[test]
#[expect(clippy::result_large_err, reason = "figment's own type of closure")]
fn variables_stand_over_the_file_and_the_file_over_the_defaults() {
    figment::Jail::expect_with(|jail| {
        jail.create_file(
            "adal.toml",
            "[server]\nlisten = \"127.0.0.1:1\"\nworkers = 3\n[policy.loyalty]\nlot_days = 100\n",
        )?;
        jail.set_env("ADAL__SERVER__LISTEN", "127.0.0.1:2");
        jail.set_env("ADAL__POLICY__LOYALTY__TIER_RATE_PERMYRIAD", "[1, 2, 3, 4]");
        jail.set_env("ADAL__FLAGS__LOYALTY__BURN", "25");
        jail.set_env("ADAL__STORE__SQLITE__PATH", "elsewhere/a.db");
        let config = Config::load(Some(Path::new("adal.toml"))).unwrap();
        assert_eq!(config.server.listen, "127.0.0.1:2");
        assert_eq!(config.server.workers, 3);
        assert_eq!(config.server.body_limit_bytes, 1 << 20);
        assert_eq!(config.policy.loyalty.lot_days, 100);
        assert_eq!(config.policy.loyalty.tier_rate_permyriad, [1, 2, 3, 4]);
        assert_eq!(config.flags.loyalty.burn, Share(25));
        assert_eq!(config.store.sqlite.path, Path::new("elsewhere/a.db"));
        Ok(())
    });
}

#[test]
#[expect(clippy::result_large_err, reason = "figment's own type of closure")]
fn unknown_keys_are_refused_and_named() {
    for (file, name) in [
        ("[server]\nlisten_on = \"x\"", "listen_on"),
        ("[sever]\nlisten = \"x\"", "sever"),
        ("[policy.loyalty]\nlot_dais = 1", "lot_dais"),
        ("[flags.loyalty]\nern = true", "ern"),
    ] {
        let error = read(file).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    figment::Jail::expect_with(|jail| {
        jail.set_env("ADAL__SERVER__LISTEM", "127.0.0.1:2");
        let error = Config::load(None).unwrap_err().to_string();
        assert!(error.contains("listem"), "{error}");
        Ok(())
    });
}

#[test]
fn a_value_out_of_its_rule_is_refused_and_named() {
    for (file, name) in [
        ("[store]\nkind = \"cql\"", "contact_points"),
        ("[store]\nkind = \"cql\"\n[store.cql]\ncontact_points = [\"h\"]\nkeyspace = \"A\"", "keyspace"),
        (
            &*format!("[store]\nkind = \"cql\"\n[store.cql]\ncontact_points = [\"h\"]\nnode = \"{}\"", "n".repeat(65)),
            "store.cql.node",
        ),
        ("[store]\nkind = \"cql\"\n[store.cql]\ncontact_points = [\"h\"]\nusername = \"u\"", "password"),
        ("[store]\nkind = \"cql\"\n[store.cql]\ncontact_points = [\"h\"]\ntls_key = \"k\"", "store.cql.tls_key"),
        (
            "[store]\nkind = \"cql\"\n[store.cql]\ncontact_points = [\"h\"]\nbeat_every_ms = 2000",
            "store.cql.confirmed_within_ms",
        ),
        ("[store]\nkind = \"cql\"\n[store.cql]\ncontact_points = [\"h\"]\ndead_after_ms = 5999", "dead_after_ms"),
        (
            "[store]\nkind = \"cql\"\n[store.cql]\ncontact_points = [\"h\"]\nlocal_datacenter = \"a\"\n\
             take_from_datacenter = \"a\"",
            "take_from_datacenter",
        ),
        ("[policy.trust]\nflag_cap = 101", "trust.flag_cap"),
        ("[qr.keys]\n1 = \"abcd\"", "qr.keys"),
        (
            "[qr]\ncurrent = 2\n[qr.keys]\n1 = \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"",
            "qr.current",
        ),
        ("[flags.loyalty]\nearn = 101", "flags.loyalty.earn"),
        ("[server]\ntrusted_proxies = [\"10.0.0.0/33\"]", "trusted_proxies"),
        ("[limits.key]\nread_per_s = 0", "limits.key.read_per_s"),
    ] {
        let error = read(file).unwrap_err().to_string();
        assert!(error.contains(name), "{name}: {error}");
    }
}

#[test]
fn secrets_are_masked() {
    let secret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let config = read(&format!("[qr.keys]\n1 = \"{secret}\"")).unwrap();
    let shown = config.masked().unwrap();
    assert!(shown.contains("***") && !shown.contains(secret));
    let config = read("[store.cql]\nusername = \"adal\"\npassword = \"correct horse\"").unwrap();
    let shown = config.masked().unwrap();
    assert!(shown.contains("password = \"***\"") && !shown.contains("horse"));
    for printed in [format!("{:?}", config.store.cql.to_store()), format!("{config:?}")] {
        assert!(!printed.contains("horse"), "what may end up in a log");
    }
}
