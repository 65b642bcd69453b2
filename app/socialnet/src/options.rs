//! The command line of the program `socialnet`.

use crate::service::user::Cost;
use clap::{Parser, Subcommand};

/// A social network of ten services. Started with 'socialnet up' as a proc: 'sigma run --upload … socialnet up --port 8080'.
#[derive(Debug, Parser)]
#[command(name = "socialnet")]
pub struct Options {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Start the cache and all services, and wait until they serve
    Up(Up),
    /// End all of them
    Down,
    /// Add users who follow each other
    Seed(Seed),
    /// Run the service of users
    #[command(hide = true)]
    User {
        #[arg(long, value_enum, default_value_t)]
        password_cost: Cost,
    },
    /// Run the service that knows who follows whom
    #[command(hide = true)]
    Graph,
    /// Run the service of posts
    #[command(hide = true)]
    Post,
    /// Run the service of what users have posted
    #[command(hide = true)]
    Timeline,
    /// Run the service of what users see
    #[command(hide = true)]
    Home,
    /// Run the service of short links
    #[command(hide = true)]
    Url {
        #[arg(long)]
        public_url: String,
    },
    /// Run the service of pictures
    #[command(hide = true)]
    Media,
    /// Run the service that looks for links and mentions
    #[command(hide = true)]
    Text,
    /// Run the service of new posts
    #[command(hide = true)]
    Compose,
    /// Run the HTTP front end
    #[command(hide = true)]
    Front {
        #[arg(long)]
        port: u16,
    },
}

#[derive(Clone, Debug, clap::Args)]
pub struct Up {
    /// The TCP port of the machine for HTTP; the operator grants it: 'sigma realm set REALM publish.ports=PORT'
    #[arg(long, default_value_t = 8080)]
    pub port: u16,

    /// Where people reach the front end, for short links; by default http://localhost:PORT
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,

    /// Shards of the cache
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub shards: u32,

    /// Megabytes that each shard keeps
    #[arg(long, value_name = "MB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub shard_mb: u64,

    /// What it costs to hash a password
    #[arg(long, value_enum, default_value_t)]
    pub password_cost: Cost,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Seed {
    /// Where the graph begins that is made
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Users of the graph that is made
    #[arg(long, default_value_t = 962, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub users: u32,

    /// Friends that each has on average
    #[arg(long, default_value_t = 39, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub degree: u32,

    /// Read a graph in DeathStarBench's format instead: FILE.nodes and FILE.edges, paths in the realm
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "users", "degree"])]
    pub graph: Option<String>,
}
