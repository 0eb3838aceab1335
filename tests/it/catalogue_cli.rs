//! `adal catalogue` and `adal codes`: the real program, on a store of its own and through a real server.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::harness::{
    Client, Server, TempDir,
    process::{Process, adal},
};

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/demo")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn done(output: Output) -> String {
    assert!(output.status.success(), "{}{}", out(&output), told(&output));
    out(&output)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Every file of a folder, by its name.
fn files(dir: &Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for folder in ["promos", "campaigns", "banners"] {
        for entry in std::fs::read_dir(dir.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
            all.push((name, std::fs::read_to_string(path).unwrap()));
        }
    }
    all.sort();
    all
}

#[test]
fn a_folder_goes_in_and_comes_out_the_same() {
    let dir = TempDir::new();
    let (one, two) = (dir.path().join("one.db"), dir.path().join("two.db"));
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let tried = done(adal(&one, &["catalogue", "import", text(&demo()), "--dry-run"]));
    assert!(tried.contains("+ promo welcome") && tried.contains("nothing was written"), "{tried}");
    let imported = done(adal(&one, &["catalogue", "import", text(&demo())]));
    assert!(
        imported.contains("+ campaign yoghurt") && imported.contains("8 added, 0 changed, 0 removed"),
        "{imported}"
    );
    let again = done(adal(&one, &["catalogue", "import", text(&demo())]));
    assert!(again.contains("0 added, 0 changed, 0 removed; at revision 1"), "{again}");
    done(adal(&one, &["catalogue", "export", text(&first)]));
    done(adal(&two, &["catalogue", "import", text(&first)]));
    done(adal(&two, &["catalogue", "export", text(&second)]));
    assert_eq!(files(&first), files(&second));
    assert_eq!(files(&first).len(), 8);
    let unchanged = done(adal(&one, &["catalogue", "import", text(&second), "--prune"]));
    assert!(unchanged.contains("0 added, 0 changed, 0 removed"), "{unchanged}");
}

#[test]
fn what_changed_and_what_is_gone_is_told() {
    let dir = TempDir::new();
    let (store, shop) = (dir.path().join("adal.db"), dir.path().join("shop"));
    done(adal(&store, &["catalogue", "import", text(&demo())]));
    done(adal(&store, &["catalogue", "export", text(&shop)]));
    let flash = shop.join("promos/flash.toml");
    std::fs::write(&flash, std::fs::read_to_string(&flash).unwrap().replace("total = 50", "total = 40")).unwrap();
    std::fs::remove_file(shop.join("banners/welcome.toml")).unwrap();
    std::fs::remove_file(shop.join("promos/welcome.toml")).unwrap();
    let kept = done(adal(&store, &["catalogue", "import", text(&shop)]));
    assert!(kept.contains("~ promo flash") && kept.contains("2 documents are not in the folder"), "{kept}");
    let pruned = adal(&store, &["--json", "catalogue", "import", text(&shop), "--prune"]);
    let pruned: Value = serde_json::from_str(&done(pruned)).unwrap();
    let what: Vec<_> = pruned["changed"].as_array().unwrap().iter().map(|one| (&one["kind"], &one["id"])).collect();
    assert_eq!(what, [(&json!("banner"), &json!("welcome")), (&json!("promo"), &json!("welcome"))]);
    assert_eq!(pruned["applied"], true);
}

#[test]
fn a_fault_is_told_with_file_field_and_rule_and_nothing_is_imported() {
    let dir = TempDir::new();
    let (store, shop) = (dir.path().join("adal.db"), dir.path().join("shop"));
    std::fs::create_dir_all(shop.join("promos")).unwrap();
    let wrong = "name = \"a\"\ncodes = [\"A\", \"a\"]\n[discount]\ntype = \"percent\"\npermyriad = 1000\n";
    std::fs::write(shop.join("promos/a.toml"), wrong).unwrap();
    std::fs::write(shop.join("promos/b.toml"), wrong.replace("codes = [\"A\", \"a\"]\n", "")).unwrap();
    for words in [&["catalogue", "check", text(&shop)][..], &["catalogue", "import", text(&shop)]] {
        let output = adal(&store, words);
        assert_eq!(output.status.code(), Some(1));
        assert!(out(&output).starts_with("promos/a.toml: codes[0], codes[1]: "), "{}", out(&output));
    }
    assert!(!store.exists(), "a check needs no store");
    let output = adal(&store, &["--json", "catalogue", "check", text(&shop)]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!((&report["sound"], &report["documents"]), (&json!(false), &json!(2)));
    assert_eq!(report["problems"][0]["file"], "promos/a.toml");
    assert_eq!(report["problems"][0]["field"], "codes[0], codes[1]");
    let missing = adal(&store, &["catalogue", "check", "/no/such/folder"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(told(&missing).contains("/no/such/folder"));
    done(adal(&store, &["catalogue", "check", text(&demo())]));
}

#[test]
fn through_a_running_server_it_is_the_same() {
    let server = Server::start();
    let dir = TempDir::new();
    let run = |key: Option<&str>, url: &str, words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adal"));
        command.args(["--json", "catalogue"]).args(words).args(["--server", url]).env_remove("ADAL_KEY");
        command.env("ADAL__STORE__SQLITE__PATH", dir.path().join("none.db"));
        key.map(|key| command.env("ADAL_KEY", key));
        command.output().unwrap()
    };
    let admin = server.token_of("admin");
    let json = |output: Output| -> Value { serde_json::from_str(&done(output)).unwrap() };
    let demo = demo();
    let import = ["import", text(&demo)];
    assert_eq!(json(run(Some(admin), &server.url, &import))["changed"].as_array().unwrap().len(), 8);
    assert_eq!(server.admin().get("/v1/campaigns/yoghurt").ok(200).body["version"], 1);
    assert_eq!(json(run(Some(admin), &server.url, &import))["changed"], json!([]));
    let shop = dir.path().join("shop");
    assert_eq!(json(run(Some(admin), &server.url, &["export", text(&shop)]))["files"], 8);
    assert_eq!(files(&shop).len(), 8);
    std::fs::remove_file(shop.join("banners/yoghurt.toml")).unwrap();
    let pruned = json(run(Some(admin), &server.url, &["import", text(&shop), "--prune"]));
    assert_eq!(pruned["changed"][0]["outcome"], "removed");
    server.admin().get("/v1/banners/yoghurt").problem(404, "not_found");
    for (key, url, says) in [
        (None, server.url.as_str(), "ADAL_KEY"),
        (Some(server.token_of("service")), &server.url, "403 forbidden"),
        (Some(admin), "https://example.org", "http://"),
        (Some(admin), "http://127.0.0.1:9", "127.0.0.1:9"),
    ] {
        let failed = run(key, url, &import);
        assert_eq!(failed.status.code(), Some(1));
        assert!(told(&failed).contains(says), "{} does not say {says}", told(&failed));
    }
    assert!(!dir.path().join("none.db").exists());
}

#[test]
fn codes_are_made_without_a_server_and_refused_beside_one() {
    let dir = TempDir::new();
    let store = dir.path().join("adal.db");
    done(adal(&store, &["catalogue", "import", text(&demo())]));
    let words = ["--json", "codes", "generate", "--promo", "welcome", "--count", "1200", "--prefix", "NEW-"];
    let made: Value = serde_json::from_str(&done(adal(&store, &words))).unwrap();
    assert_eq!((&made["done"], &made["state"]), (&json!(1200), &json!("done")));
    let unknown = adal(&store, &["codes", "generate", "--promo", "yoghurt", "--count", "1"]);
    assert!(told(&unknown).contains("no promo yoghurt"), "{}", told(&unknown));
    for wrong in [&["--count", "0"][..], &["--count", "1000001"], &["--count", "1", "--prefix", "a b"]] {
        let output = adal(&store, &[&["codes", "generate", "--promo", "welcome"], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
    let mut process = Process::start(dir.path());
    let beside = adal(&store, &words);
    assert_eq!(beside.status.code(), Some(1));
    assert!(told(&beside).contains("another server") && told(&beside).contains("POST /v1/promos"), "{}", told(&beside));
    let import = adal(&store, &["catalogue", "import", text(&demo())]);
    assert!(told(&import).contains("--server"), "{}", told(&import));
    let admin = Client::new(&process.url, Some(&process.make_key("admin", None)));
    let job = admin.get(&format!("/v1/jobs/{}", made["job_id"].as_str().unwrap())).ok(200).body;
    assert_eq!((&job["done"], &job["created_by"]), (&json!(1200), &json!("cli")));
    let csv = admin.get("/v1/promos/welcome/codes.csv").ok(200);
    let lines = String::from_utf8(csv.bytes).unwrap();
    assert_eq!(lines.lines().filter(|line| line.starts_with("NEW-")).count(), 1200);
    // None of them can be a shared one, by this way either.
    process.stop();
    let shop = dir.path().join("shop");
    std::fs::create_dir_all(shop.join("promos")).unwrap();
    let offer = "name = \"a\"\ncodes = [\"CODE\"]\n[discount]\ntype = \"percent\"\npermyriad = 1000\n";
    let made = lines.lines().nth(1).unwrap();
    std::fs::write(shop.join("promos/a.toml"), offer.replace("CODE", made)).unwrap();
    for words in [&["catalogue", "import", text(&shop)][..], &["catalogue", "import", text(&shop), "--dry-run"]] {
        let taken = adal(&store, words);
        assert_eq!(taken.status.code(), Some(1), "{}", out(&taken));
        assert!(told(&taken).contains("is a unique code of promo welcome"), "{}", told(&taken));
    }
}
