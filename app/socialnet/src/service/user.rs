//! User: registers new users, checks whether users exist, processes logins.

mod password;

use super::{CACHE, invalid, serve as run, too_large};
use crate::clock::Numbers;
use crate::limits::{MAX_FIND, MAX_FULL_NAME, MAX_NAME, MAX_REGISTER};
use crate::proto::{
    Done, FindRequest, LoginRequest, People, Person, RegisterManyRequest, RegisterRequest, User, UserServer,
};
use crate::words::is_name;
use cache::Cache;
use futures_util::future::join_all;
use password::Passwords;
use serde::{Deserialize, Serialize};
use sigmaos::mongo::{Collection, Mongo, doc};
use sigmaos::rpc::{Bytes, Request, Response};
use sigmaos::{Code, Error, Result, Sigma};
use std::sync::Arc;

pub use password::Cost;

/// Where it is served.
pub const NAME: &str = "user";

struct Users {
    users: Collection<Stored>,
    cache: Cache,
    passwords: Passwords,
    numbers: Numbers,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "_id")]
    id: i64,
    name: String,
    first_name: String,
    last_name: String,
    /// In the form of the Password Hashing Competition.
    password: String,
}

#[derive(Deserialize)]
struct Known {
    #[serde(rename = "_id")]
    id: i64,
    name: String,
}

/// Serves until somebody asks this proc to end.
///
/// # Errors
/// As [`Mongo::open`], [`Cache::open`] and [`Sigma::serve_rpc`].
pub async fn serve(sigma: &Sigma, cost: Cost) -> Result<()> {
    let users = Mongo::open(sigma).await?.collection("users");
    users.create_index(doc! { "name": 1 }, true).await?;
    let cache = Cache::open(sigma, CACHE).await?;
    let passwords = Passwords::new(cost).await?;
    let users = Users { users, cache, passwords, numbers: Numbers::default() };
    run(sigma, NAME, UserServer(Arc::new(users))).await
}

fn check(request: &RegisterRequest) -> Result<()> {
    let RegisterRequest { id, name, first_name, last_name, password } = request;
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_name) {
        let text = format!("a user's name has 1 to {MAX_NAME} letters and digits of ASCII, '_' and '-'");
        return Err(invalid(text));
    }
    if first_name.len().max(last_name.len()) > MAX_FULL_NAME {
        return Err(too_large(format!("a first or last name has at most {MAX_FULL_NAME} bytes")));
    }
    if let Some(id) = id.filter(|id| *id < 0) {
        return Err(invalid(format!("user id {id}: ids are not negative")));
    }
    password::check(password)
}

fn by_name(name: &str) -> Bytes {
    format!("user/name/{name}").into()
}

fn by_id(id: i64) -> Bytes {
    format!("user/id/{id}").into()
}

impl Users {
    async fn stored(&self, request: RegisterRequest) -> Result<Stored> {
        check(&request)?;
        let RegisterRequest { id, name, first_name, last_name, password } = request;
        let password = self.passwords.hash(password).await?;
        let id = id.unwrap_or_else(|| self.numbers.now());
        Ok(Stored { id, name, first_name, last_name, password })
    }

    /// Keeps a user in the cache, who never changes. A cache that does not take it has none.
    async fn keep(&self, person: &Person) {
        let id = Bytes::copy_from_slice(&person.id.to_be_bytes());
        let name = Bytes::copy_from_slice(person.name.as_bytes());
        let (by_name, by_id) = (by_name(&person.name), by_id(person.id));
        let puts = tokio::join!(self.cache.put(&by_name, id, None), self.cache.put(&by_id, name, None));
        drop(puts);
    }

    /// Those that the cache knows, and the ids and names of the others.
    async fn cached(&self, wanted: FindRequest) -> (Vec<Person>, FindRequest) {
        let ids = wanted.ids.iter().map(|id| by_id(*id));
        let keys: Vec<_> = ids.chain(wanted.names.iter().map(|name| by_name(name))).collect();
        let mut hot = self.cache.get_many(&keys).await.unwrap_or_else(|_| vec![None; keys.len()]).into_iter();
        let (mut people, mut left) = (Vec::new(), FindRequest::default());
        for id in wanted.ids {
            match hot.next().flatten().and_then(|name| String::from_utf8(name.into()).ok()) {
                Some(name) => people.push(Person { id, name }),
                None => left.ids.push(id),
            }
        }
        for name in wanted.names {
            match hot.next().flatten().and_then(|id| <[u8; 8]>::try_from(&id[..]).ok()) {
                Some(id) => people.push(Person { id: i64::from_be_bytes(id), name }),
                None => left.names.push(name),
            }
        }
        (people, left)
    }
}

impl User for Users {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<Person>> {
        let chosen = request.message.id.is_some();
        let user = self.stored(request.message).await?;
        self.users.insert_one(&user).await.map_err(|error| match error.code {
            Code::Exists if chosen => {
                Error::new(Code::Exists, format!("the name {:?} or the id {} is taken", user.name, user.id))
            }
            Code::Exists => Error::new(Code::Exists, format!("the name {:?} is taken", user.name)),
            _ => error,
        })?;
        let person = Person { id: user.id, name: user.name };
        self.keep(&person).await;
        Ok(person.into())
    }

    async fn register_many(&self, request: Request<RegisterManyRequest>) -> Result<Response<Done>> {
        let users = request.message.users;
        if users.len() > MAX_REGISTER {
            return Err(too_large(format!("{} users: a call has at most {MAX_REGISTER}", users.len())));
        }
        let ids: Vec<_> = users.iter().filter_map(|user| user.id).collect();
        let there = self.users.with_type::<Known>().find(doc! { "_id": { "$in": ids } });
        let there = there.projection(doc! { "name": 1 }).all().await?;
        let new = users.into_iter().filter(|user| there.iter().all(|known| Some(known.id) != user.id));
        let new =
            join_all(new.map(|user| self.stored(user))).await.into_iter().collect::<Result<Vec<_>>>()?;
        if !new.is_empty() {
            self.users.insert_many(&new).await?;
        }
        Ok(Done {}.into())
    }

    async fn login(&self, request: Request<LoginRequest>) -> Result<Response<Person>> {
        let LoginRequest { name, password } = request.message;
        let user = self.users.find_one(doc! { "name": &name }).await?;
        let hash = user.as_ref().map(|user| user.password.clone());
        let right = self.passwords.verify(password, hash).await?;
        match user.filter(|_| right) {
            Some(user) => Ok(Person { id: user.id, name: user.name }.into()),
            None => Err(Error::new(Code::Denied, "the name or the password is wrong")),
        }
    }

    async fn find(&self, request: Request<FindRequest>) -> Result<Response<People>> {
        let wanted = request.message;
        if wanted.ids.len() + wanted.names.len() > MAX_FIND {
            return Err(too_large(format!("a call looks up at most {MAX_FIND} users")));
        }
        let (mut people, left) = self.cached(wanted).await;
        for (field, values) in [("_id", doc! { "$in": left.ids }), ("name", doc! { "$in": left.names })] {
            if values.get_array("$in").is_ok_and(Vec::is_empty) {
                continue;
            }
            let found = self.users.with_type::<Known>().find(doc! { field: values });
            for Known { id, name } in found.projection(doc! { "name": 1 }).all().await? {
                let person = Person { id, name };
                self.keep(&person).await;
                people.push(person);
            }
        }
        Ok(People { people }.into())
    }
}
