//! The catalogue as a folder of files, so that a shop can keep its promotions in git: `promos/`, `campaigns/` and
//! `banners/` with a file for each document (its id and `.toml` or `.json`), and `policy.toml`.
//!
//! Pure but for reading and writing files. A file says what `PUT` takes, is held to the same rules and named by the same
//! errors. What is written is canonical: the same catalogue gives the same bytes, and reading them gives the catalogue.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use adal_domain::{
    catalogue::{self, Banner, CatalogueState, Change, DocumentKind, MAX_DOCUMENT_BYTES, banner},
    errors::Refusal,
    ids::{Actor, BannerId, OfferId},
    offers::{self, Offer, OfferKind},
    policy::Policy,
    time::Timestamp,
};
use serde::Serialize;
use serde_json::Value;

use crate::http::{
    body::{self, tree},
    problem::Problem,
    respond::Format,
    routes::policy::complete_policy,
};

/// The kinds that have a folder.
const FOLDERS: [DocumentKind; 3] = [DocumentKind::Promo, DocumentKind::Campaign, DocumentKind::Banner];

/// What is wrong with a file, or odd about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file, within the folder.
    pub file: String,
    /// The field or fields, where it is about any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The rule.
    pub rule: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{}: {field}: {}", self.file, self.rule),
            None => write!(f, "{}: {}", self.file, self.rule),
        }
    }
}

impl Fault {
    fn new(file: &str, rule: impl Into<String>) -> Self {
        Self { file: file.to_owned(), field: None, rule: rule.into() }
    }

    /// From a detail in the form of all errors: field, colon, rule.
    fn of_detail(file: &str, detail: &str) -> Self {
        match detail.split_once(": ") {
            Some(("unknown", field)) => {
                Self { file: file.to_owned(), field: Some(field.to_owned()), rule: "is not known".to_owned() }
            }
            Some((field, rule)) => Self { file: file.to_owned(), field: Some(field.to_owned()), rule: rule.to_owned() },
            None => Self::new(file, detail),
        }
    }
}

/// What a folder says.
#[derive(Debug, Default)]
pub struct Folder {
    /// The documents that could be read, as changes that put them, each with its file.
    pub documents: Vec<(String, Change)>,
    /// What could not.
    pub faults: Vec<Fault>,
}

impl Folder {
    /// Reads a folder. What does not belong to it by its name (a README, hidden files) is passed over.
    ///
    /// # Errors
    /// Where the folder itself cannot be read; a file that cannot is a fault.
    pub fn read(dir: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        // Before the kinds' own folders, each of which may be missing: a folder that is not there at all is no empty one.
        fs::read_dir(dir)?;
        for kind in FOLDERS {
            let folder = dir.join(kind.plural());
            if !folder.is_dir() {
                continue;
            }
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                if !name.starts_with('.') {
                    files.push((format!("{}/{name}", kind.plural()), path));
                }
            }
        }
        for name in ["policy.toml", "policy.json"] {
            if dir.join(name).exists() {
                files.push((name.to_owned(), dir.join(name)));
            }
        }
        files.sort();
        let mut found = Self::default();
        for (file, path) in files {
            let large = fs::metadata(&path).is_ok_and(|file| file.len() > 4 * MAX_DOCUMENT_BYTES);
            match fs::read_to_string(&path) {
                _ if large => found.faults.push(Fault::new(&file, "is too large for a document")),
                Ok(text) => found.add(&file, &text),
                Err(error) => found.faults.push(Fault::new(&file, format!("cannot be read: {error}"))),
            }
        }
        Ok(found)
    }

    /// Takes a file by its name within the folder.
    pub fn add(&mut self, file: &str, text: &str) {
        match parse(file, text) {
            Ok(change) => {
                let document = change.document();
                match self.documents.iter().find(|(_, known)| known.document() == document) {
                    Some((other, _)) => {
                        self.faults.push(Fault::new(file, format!("is the same document as {other}")));
                    }
                    None => self.documents.push((file.to_owned(), change)),
                }
            }
            Err(fault) => self.faults.push(fault),
        }
    }

    /// What is wrong with the documents, by themselves and together, as if they were the whole catalogue.
    #[must_use]
    pub fn check(&self) -> Vec<Fault> {
        let mut faults = self.faults.clone();
        let mut state = CatalogueState::default();
        let Ok(by) = Actor::new("check") else { return faults };
        // One by one, so that each fault is found; banners come after the offers that they are about.
        let (banners, others): (Vec<_>, Vec<_>) =
            self.documents.iter().partition(|(_, change)| change.document().0 == DocumentKind::Banner);
        for (file, change) in others.into_iter().chain(banners) {
            let mut next = state.clone();
            match catalogue::change(&mut next, std::slice::from_ref(change), &by, Timestamp::default()) {
                Ok(_) => state = next,
                Err(Refusal { detail, .. }) => faults.push(Fault::of_detail(file, &detail)),
            }
        }
        faults
    }

    /// What the documents say that can hardly be meant.
    #[must_use]
    pub fn warnings(&self) -> Vec<Fault> {
        let of = |change: &Change| match change {
            Change::PutOffer { offer, .. } => offers::warnings(offer),
            Change::PutBanner { banner, .. } => banner::warnings(banner),
            _ => Vec::new(),
        };
        let all = self.documents.iter();
        all.flat_map(|(file, change)| of(change).into_iter().map(|text| Fault::of_detail(file, &text))).collect()
    }

    /// The changes that make `state` say what the folder says: removals first, where `prune`; a document that is the same
    /// is none. Each expects what stands in `state`.
    #[must_use]
    pub fn changes_of(&self, state: &CatalogueState, prune: bool) -> Vec<Change> {
        let mut changes = if prune { self.removals(state) } else { Vec::new() };
        let mut puts: Vec<Change> = Vec::new();
        for (_, wanted) in &self.documents {
            puts.extend(match wanted {
                Change::Policy { policy, .. } => (state.policy.as_ref() != Some(policy))
                    .then(|| Change::Policy { policy: Arc::clone(policy), expected: Some(state.policy_revision) }),
                Change::PutOffer { kind, id, offer, .. } => {
                    let known = state.offer(id);
                    let same = known.is_some_and(|known| known.kind == *kind && known.offer == *offer);
                    // One of the other kind is removed above; or it is not, and the rules say so.
                    let expected = known.filter(|known| known.kind == *kind).map_or(0, |known| known.stamp.revision);
                    let (kind, id, offer) = (*kind, id.clone(), Arc::clone(offer));
                    (!same).then_some(Change::PutOffer { kind, id, offer, expected: Some(expected) })
                }
                Change::PutBanner { id, banner, .. } => {
                    let known = state.banner(id);
                    let same = known.is_some_and(|known| known.banner == *banner);
                    let expected = Some(known.map_or(0, |known| known.stamp.revision));
                    let (id, banner) = (id.clone(), Arc::clone(banner));
                    (!same).then_some(Change::PutBanner { id, banner, expected })
                }
                Change::DeleteOffer { .. } | Change::DeleteBanner { .. } => None,
            });
        }
        // Offers before the banners that are about them, for a list that is too long for one step.
        puts.sort_by_key(|change| change.document().0);
        changes.extend(puts);
        changes
    }

    /// What `state` has and the folder has not. The policy is never removed.
    fn removals(&self, state: &CatalogueState) -> Vec<Change> {
        let wanted: BTreeSet<_> = self.documents.iter().map(|(_, change)| change.document()).collect();
        let banners = state.banners(None).filter(|(id, _)| !wanted.contains(&(DocumentKind::Banner, id.as_str())));
        let banners =
            banners.map(|(id, known)| Change::DeleteBanner { id: id.clone(), expected: Some(known.stamp.revision) });
        let offers = state.offers().filter(|(id, known)| !wanted.contains(&(known.kind.into(), id.as_str())));
        let offers = offers.map(|(id, known)| {
            let expected = Some(known.stamp.revision);
            Change::DeleteOffer { kind: known.kind, id: id.clone(), expected }
        });
        banners.chain(offers).collect()
    }

    /// How many documents `state` has that the folder has not.
    #[must_use]
    pub fn missing_of(&self, state: &CatalogueState) -> usize {
        self.removals(state).len()
    }
}

/// A file as the change that puts its document.
fn parse(file: &str, text: &str) -> Result<Change, Fault> {
    let told = |problem: Problem| Fault::of_detail(file, problem.detail());
    let (folder, name) = file.split_once('/').unwrap_or(("policy", file));
    let (id, format) = name.rsplit_once('.').ok_or_else(|| Fault::new(file, "must end in .toml or .json"))?;
    let value = match format {
        "toml" => {
            let table: toml::Table = toml::from_str(text).map_err(|error| not_toml(file, text, &error))?;
            plain(toml::Value::Table(table))
        }
        "json" => tree(Format::Json, text.as_bytes()).map_err(told)?,
        _ => return Err(Fault::new(file, "must end in .toml or .json")),
    };
    let bad_id = |error| Fault::new(file, format!("the name before the ending is the id: {error}"));
    let kind = FOLDERS.into_iter().find(|kind| kind.plural() == folder).unwrap_or(DocumentKind::Policy);
    let offer = |kind: OfferKind, value: &Value| -> Result<Change, Fault> {
        let offer: Arc<Offer> = body::typed(value).map_err(told)?;
        Ok(Change::PutOffer { kind, id: OfferId::new(id).map_err(bad_id)?, offer, expected: None })
    };
    match kind {
        DocumentKind::Promo => offer(OfferKind::Promo, &value),
        DocumentKind::Campaign => offer(OfferKind::Campaign, &value),
        DocumentKind::Banner => {
            let banner: Arc<Banner> = body::typed(&value).map_err(told)?;
            Ok(Change::PutBanner { id: BannerId::new(id).map_err(bad_id)?, banner, expected: None })
        }
        DocumentKind::Policy => {
            let policy: Arc<Policy> = body::typed(&value).map_err(told)?;
            complete_policy(&policy, &value).map_err(told)?;
            Ok(Change::Policy { policy, expected: None })
        }
    }
}

/// On one line, as all faults are.
fn not_toml(file: &str, text: &str, error: &toml::de::Error) -> Fault {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    Fault::new(file, format!("line {}: {}", before.matches('\n').count() + 1, error.message().replace('\n', ", ")))
}

/// A TOML value as the tree that bodies are read into; its times as their text.
fn plain(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) => Value::from(number),
        toml::Value::Boolean(value) => Value::Bool(value),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        toml::Value::Table(table) => Value::Object(table.into_iter().map(|(key, item)| (key, plain(item))).collect()),
    }
}

/// What was written.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Files.
    pub files: usize,
    /// Files of documents that the catalogue does not have; they stay.
    pub strange: Vec<String>,
}

/// Writes a catalogue into a folder, which is made if need be. A file of the same document in the other format goes.
///
/// # Errors
/// Where a file cannot be written; some may be written by then.
pub fn write(dir: &Path, state: &CatalogueState) -> Result<Written, Box<dyn std::error::Error>> {
    let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
    if let Some(policy) = &state.policy {
        files.insert("policy".into(), toml::to_string_pretty(&**policy)?);
    }
    for (id, entry) in state.offers() {
        let folder = DocumentKind::from(entry.kind).plural();
        files.insert(Path::new(folder).join(id.as_str()), toml::to_string_pretty(&*entry.offer)?);
    }
    for (id, entry) in state.banners(None) {
        let place = Path::new(DocumentKind::Banner.plural()).join(id.as_str());
        files.insert(place, toml::to_string_pretty(&*entry.banner)?);
    }
    for kind in FOLDERS {
        fs::create_dir_all(dir.join(kind.plural()))?;
    }
    let mut expected = BTreeSet::new();
    for (place, text) in &files {
        let file = dir.join(format!("{}.toml", place.display()));
        fs::write(&file, text)?;
        expected.insert(file);
        match fs::remove_file(dir.join(format!("{}.json", place.display()))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    let found = Folder::read(dir)?;
    let all = found.documents.iter().map(|(file, _)| file).chain(found.faults.iter().map(|fault| &fault.file));
    let strange = all.filter(|file| !expected.contains(&dir.join(file))).cloned().collect();
    Ok(Written { files: files.len(), strange })
}

#[cfg(test)]
mod tests {
    use adal_domain::{catalogue::Catalogue, entity::Entity};

    use super::*;

    fn folder(files: &[(&str, &str)]) -> Folder {
        let mut folder = Folder::default();
        files.iter().for_each(|(file, text)| folder.add(file, text));
        folder
    }

    fn state_of(folder: &Folder) -> CatalogueState {
        let mut state = CatalogueState::default();
        let changes = folder.changes_of(&state, true);
        let by = Actor::new("k1").unwrap();
        let (events, _) = catalogue::change(&mut state.clone(), &changes, &by, Timestamp(7)).unwrap();
        events.iter().for_each(|event| Catalogue::apply(&mut state, event, 1));
        state
    }

    const OFFER: &str =
        "name = \"a\"\nstarts_at = 2026-11-23T09:00:00Z\n[discount]\ntype = \"percent\"\npermyriad = 1000\n";

    #[test]
    fn toml_and_json_say_the_same() {
        let json =
            r#"{"name": "a", "starts_at": "2026-11-23T09:00:00Z", "discount": {"type": "percent", "permyriad": 1000}}"#;
        let both = folder(&[("promos/a.toml", OFFER), ("promos/b.json", json)]);
        assert!(both.faults.is_empty(), "{:?}", both.faults);
        let [(_, Change::PutOffer { offer: a, .. }), (_, Change::PutOffer { offer: b, .. })] = &both.documents[..]
        else {
            panic!("{:?}", both.documents)
        };
        assert_eq!(a, b);
    }

    #[test]
    fn every_fault_names_its_file_field_and_rule() {
        let with = |line: &str| format!("{line}\n{OFFER}");
        let folder = folder(&[
            ("promos/a.toml", &with("codes = [\"WELCOME10\"]")),
            ("promos/b.toml", &with("codes = [\"welcome-10\"]")),
            ("promos/c.toml", &with("codes = [1]")),
            ("promos/d.toml", &with("colour = \"red\"")),
            ("promos/e.toml", "name = "),
            ("promos/f.txt", OFFER),
            ("promos/g h.toml", OFFER),
            ("promos/a.json", r#"{"name": "a", "discount": {"type": "free_delivery"}}"#),
            ("campaigns/a.toml", OFFER),
            ("campaigns/i.toml", &OFFER.replace("1000", "10001")),
            ("banners/j.toml", "placement = \"home\"\noffer = \"nothing\"\n[texts.en]\ntitle = \"x\"\n"),
            ("policy.toml", "time_zone = \"Asia/Almaty\"\n"),
        ]);
        let told: Vec<String> = folder.check().iter().map(ToString::to_string).collect();
        for (file, says) in [
            ("promos/b.toml", "codes[0]"),
            ("promos/c.toml", "codes[0]"),
            ("promos/d.toml", "colour: is not known"),
            ("promos/e.toml", "line 1: string values must be quoted"),
            ("promos/f.txt", ".toml or .json"),
            ("promos/g h.toml", "id"),
            ("promos/a.json", "promos/a.toml"),
            ("campaigns/a.toml", "id: there is a promo a"),
            ("campaigns/i.toml", "discount.permyriad"),
            ("banners/j.toml", "offer: "),
            ("policy.toml", "missing"),
        ] {
            assert!(told.iter().any(|text| text.starts_with(file) && text.contains(says)), "{file} {says}: {told:#?}");
        }
        assert_eq!(told.len(), 11, "{told:#?}");
        let field = folder.check().into_iter().find(|fault| fault.file == "campaigns/i.toml").unwrap();
        assert_eq!((field.field.as_deref(), field.rule.as_str()), (Some("discount.permyriad"), "must be 1 to 10000"));
    }

    #[test]
    fn what_is_written_reads_back_and_is_the_same_again() {
        let policy = toml::to_string_pretty(&Policy::default()).unwrap();
        let original = state_of(&folder(&[
            ("promos/a:b.c.toml", &format!("codes = [\"X\"]\n{OFFER}")),
            (
                "campaigns/c.toml",
                "[name]\nru = \"а\"\nkk = \"б\"\nen = \"c\"\n[discount]\ntype = \"free_delivery\"\n[[conditions.windows]]\ndays = [\"mon\"]\nfrom = \"15:00\"\nto = \"24:00\"\n",
            ),
            (
                "banners/b.toml",
                "placement = \"home\"\noffer = \"c\"\n[texts.kk]\ntitle = \"Сәлем\"\n[frequency]\nuses = 3\nperiod = \"week\"\n",
            ),
            ("policy.toml", &policy),
        ]));
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("promos")).unwrap();
        fs::write(dir.path().join("promos/a:b.c.json"), "{}").unwrap();
        fs::write(dir.path().join("promos/old.toml"), OFFER).unwrap();
        let written = write(dir.path(), &original).unwrap();
        assert_eq!(written, Written { files: 4, strange: vec!["promos/old.toml".to_owned()] });
        fs::remove_file(dir.path().join("promos/old.toml")).unwrap();
        let read = Folder::read(dir.path()).unwrap();
        assert!(read.check().is_empty(), "{:?}", read.check());
        assert!(read.changes_of(&original, true).is_empty(), "nothing to change");
        assert_eq!(state_of(&read), original);
        let bytes = || fs::read(dir.path().join("campaigns/c.toml")).unwrap();
        let before = bytes();
        write(dir.path(), &state_of(&read)).unwrap();
        assert_eq!(bytes(), before);
    }

    #[test]
    fn only_what_differs_is_changed_and_removed_where_it_is_asked_for() {
        let state =
            state_of(&folder(&[("promos/a.toml", OFFER), ("promos/b.toml", OFFER), ("campaigns/c.toml", OFFER)]));
        let wanted = folder(&[
            ("promos/a.toml", OFFER),
            ("promos/b.toml", &OFFER.replace("1000", "500")),
            ("promos/c.toml", OFFER),
            ("banners/n.toml", "placement = \"home\"\n[texts.en]\ntitle = \"x\"\n"),
        ]);
        let names = |prune: bool| -> Vec<String> {
            let changes = wanted.changes_of(&state, prune);
            changes
                .iter()
                .map(|c| {
                    format!("{}{} {}", if c.removes() { "-" } else { "" }, c.document().0.as_str(), c.document().1)
                })
                .collect()
        };
        assert_eq!(names(false), ["promo b", "promo c", "banner n"]);
        assert_eq!(names(true), ["-campaign c", "promo b", "promo c", "banner n"]);
        assert_eq!(wanted.missing_of(&state), 1);
    }

    #[test]
    fn the_demo_catalogue_is_sound() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/demo");
        let folder = Folder::read(&dir).unwrap();
        assert_eq!((folder.check(), folder.warnings()), (vec![], vec![]));
        assert!(folder.documents.len() >= 8);
    }
}
