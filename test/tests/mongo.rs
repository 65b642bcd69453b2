//! Stories of `/mongo`: the same on the embedded store, on NX-27017 over MongoDB's protocol, and on a MongoDB of the user's where
//! SIGMA_TEST_MONGO_URL names one (and SIGMA_TEST_MONGO_USER and SIGMA_TEST_MONGO_PASSWORD, where it asks for them).

#[path = "mongo/calls.rs"]
mod calls;
#[path = "mongo/ends.rs"]
mod ends;
#[path = "mongo/outside.rs"]
mod outside;

use sigma_test::outside::nx::Nx;
use sigma_test::{Machine, Tenant, story};
use sigmaos::mongo::{Collection, Document, Mongo, bson};
use std::env;

/// Which database a story speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Embedded,
    Nx,
    Users,
}

impl Engine {
    /// Where NX-27017 is not like a MongoDB, which a story then says.
    fn is_nx(self) -> bool {
        self == Self::Nx
    }
}

/// Tells a story on a realm of each engine that there is.
fn on_each(body: impl AsyncFn(&Tenant, &Mongo, Engine)) {
    story(async |machine| {
        let tenant = machine.realm("embedded").await;
        told(&tenant, Engine::Embedded, &body).await;
        if let Some(nx) = Nx::start().await {
            let tenant = realm_on(machine, "nx", &nx.url(), &[]).await;
            told(&tenant, Engine::Nx, &body).await;
        }
        if let Ok(url) = env::var("SIGMA_TEST_MONGO_URL") {
            let credentials = [("user", "SIGMA_TEST_MONGO_USER"), ("password", "SIGMA_TEST_MONGO_PASSWORD")];
            let credentials: Vec<(&str, String)> =
                credentials.into_iter().filter_map(|(key, name)| Some((key, env::var(name).ok()?))).collect();
            let tenant = realm_on(machine, "users", &url, &credentials).await;
            told(&tenant, Engine::Users, &body).await;
        }
    });
}

async fn told(tenant: &Tenant, engine: Engine, body: &impl AsyncFn(&Tenant, &Mongo, Engine)) {
    let mongo = Mongo::open(&tenant.sigma).await.expect("/mongo is served");
    // A MongoDB of the user's may hold what a story before has left.
    for name in mongo.collections().await.expect("a list") {
        mongo.collection::<Document>(&name).drop_collection().await.expect("it goes");
    }
    body(tenant, &mongo, engine).await;
}

/// A realm whose documents are in the MongoDB at `url`.
async fn realm_on(machine: &mut Machine, name: &str, url: &str, others: &[(&str, String)]) -> Tenant {
    let tenant = machine.realm(name).await;
    let scratch = tempfile::tempdir().expect("a folder");
    let mut words = vec!["realm".to_owned(), "set".to_owned(), name.to_owned(), format!("mongo.url={url}")];
    words.push("mongo.database=sigma_stories".to_owned());
    for (key, value) in others {
        let file = scratch.path().join(key);
        std::fs::write(&file, value).expect("a file of our own");
        words.push(format!("mongo.{key}=@{}", file.display()));
    }
    machine.ok(&words.iter().map(String::as_str).collect::<Vec<_>>()).await;
    tenant
}

/// Documents in the order of a field.
async fn sorted(collection: &Collection<Document>, filter: Document, by: &str) -> Vec<Document> {
    let sort = Document::from_iter([(by.to_owned(), bson::Bson::Int32(1))]);
    collection.find(filter).sort(sort).all().await.expect("what matches")
}
