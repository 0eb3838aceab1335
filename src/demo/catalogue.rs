//! The demo's catalogue: the files of `config/demo`, part of the program. What is there already stays as it was left.

use std::error::Error;

use adal_actors::Request;
use adal_domain::{
    catalogue::{Catalogue, CatalogueCommand, Change, MAIN},
    ids::Actor,
};

use crate::{app::App, folder::Folder};

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../config/demo/", $name)))),+]
    };
}

/// Every file, by its name within the folder.
const FILES: &[(&str, &str)] = files![
    "promos/flash.toml",
    "promos/spring.toml",
    "promos/welcome.toml",
    "campaigns/free-delivery.toml",
    "campaigns/happy-hours.toml",
    "campaigns/yoghurt.toml",
    "banners/welcome.toml",
    "banners/yoghurt.toml",
];

/// Adds what the catalogue does not have.
pub(super) async fn make(app: &App) -> Result<(), Box<dyn Error>> {
    let mut folder = Folder::default();
    FILES.iter().for_each(|(file, text)| folder.add(file, text));
    let mut changes = folder.changes_of(&app.catalogue.read(MAIN).await?.state, false);
    changes.retain(|change| match change {
        Change::PutOffer { expected, .. } | Change::PutBanner { expected, .. } => *expected == Some(0),
        _ => false,
    });
    if changes.is_empty() {
        return Ok(());
    }
    let command = CatalogueCommand::Change { changes, expected_revision: None, by: Actor::new("demo")? };
    let answer = app.catalogue.ask(MAIN, Request::<Catalogue> { id: None, print: [0; 16], command }).await?;
    if let Err(refusal) = answer.outcome {
        // A code of it may be another offer's by now: the demo goes on with what is there.
        tracing::warn!(%refusal, "the demo's catalogue is not loaded");
    }
    app.refresh_catalogue().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_in_the_program() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/demo");
        let found = Folder::read(&dir).unwrap();
        let mut in_program: Vec<&str> = FILES.iter().map(|(file, _)| *file).collect();
        in_program.sort_unstable();
        assert_eq!(found.documents.iter().map(|(file, _)| file.as_str()).collect::<Vec<_>>(), in_program);
    }
}
