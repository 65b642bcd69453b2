//! Social graphs: who is a friend of whom, made from a seed or read from files. Pure.

use std::collections::BTreeSet;

/// Users, by their numbers from 0 on, and who is a friend of whom: each pair once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    pub users: u32,
    pub edges: Vec<(u32, u32)>,
}

/// Users of a graph at most.
pub const MAX_USERS: u32 = 1_000_000;

/// Why text is no graph.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the first line of the nodes is {0:?}: it is the number of users, 1 to {MAX_USERS}")]
    Users(String),
    #[error("line {line} of the edges is {text:?}: it is two different users, by numbers up to {users}")]
    Edge { line: usize, text: String, users: u32 },
}

impl Graph {
    /// A graph whose degrees follow a power law: who comes makes friends of those who have many (Barabási and Albert, 1999).
    /// The same seed gives the same graph.
    pub fn power_law(seed: u64, users: u32, mean_degree: u32) -> Self {
        let mut random = Random(seed);
        let mut edges = Vec::new();
        // Each user as often as it has friends.
        let mut ends: Vec<u32> = Vec::new();
        for user in 1..users {
            // Each edge counts for two users; where the mean is odd every other one makes a friend more.
            let wanted = (mean_degree / 2 + (mean_degree % 2) * (user % 2)).min(user);
            let mut friends = BTreeSet::new();
            while (friends.len() as u32) < wanted {
                let any = random.below(user);
                let friend = match ends.len() {
                    0 => any,
                    // Now and then anybody, so that nobody is without a chance.
                    length if random.below(8) > 0 => ends[random.below(length as u32) as usize],
                    _ => any,
                };
                friends.insert(friend);
            }
            for friend in friends {
                edges.push((friend, user));
                ends.extend([friend, user]);
            }
        }
        Self { users, edges }
    }

    /// Reads DeathStarBench's format: a line with the number of users, and lines of two users. It numbers users from 0 or from
    /// 1 on; a number that is the number of users makes one user more.
    ///
    /// # Errors
    /// The line that is none.
    pub fn parse(nodes: &str, edges: &str) -> Result<Self, Error> {
        let first = nodes.lines().next().unwrap_or_default().trim();
        let users = first.parse().ok().filter(|users| (1..=MAX_USERS).contains(users));
        let users: u32 = users.ok_or_else(|| Error::Users(short(first)))?;
        let (mut seen, mut pairs, mut most) = (BTreeSet::new(), Vec::new(), users - 1);
        for (at, text) in edges.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
            let wrong = || Error::Edge { line: at + 1, text: short(text), users };
            let numbers: Option<Vec<u32>> =
                text.split_whitespace().map(|number| number.parse().ok()).collect();
            let &[one, other] = numbers.as_deref().unwrap_or_default() else { return Err(wrong()) };
            if one == other || one.max(other) > users {
                return Err(wrong());
            }
            most = most.max(one).max(other);
            if seen.insert((one.min(other), one.max(other))) {
                pairs.push((one, other));
            }
        }
        Ok(Self { users: most + 1, edges: pairs })
    }
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Numbers that look random and follow from a seed (SplitMix64; Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u128::from(self.number()) * u128::from(bound)) >> 64) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degrees_follow_a_power_law_and_the_seed() {
        let graph = Graph::power_law(1, 962, 39);
        assert_eq!(graph, Graph::power_law(1, 962, 39));
        assert_ne!(graph, Graph::power_law(2, 962, 39));
        let mut degrees = vec![0u32; 962];
        for (one, other) in &graph.edges {
            assert!(one < other && *other < 962);
            degrees[*one as usize] += 1;
            degrees[*other as usize] += 1;
        }
        let mean = f64::from(degrees.iter().sum::<u32>()) / 962.0;
        assert!((38.0..39.5).contains(&mean), "the mean degree is {mean}");
        degrees.sort_unstable();
        // Half have little more than they came with; a few have many.
        assert!(degrees[481] < 35 && degrees[961] > 150, "{} and {}", degrees[481], degrees[961]);
        let pairs: BTreeSet<_> = graph.edges.iter().collect();
        assert_eq!(pairs.len(), graph.edges.len());
    }

    #[test]
    fn the_format_of_deathstarbench_is_read() {
        let graph = Graph::parse("3\n", "0 1\n1 0\n\n2 3\n").unwrap();
        assert_eq!(graph, Graph { users: 4, edges: vec![(0, 1), (2, 3)] });
        assert_eq!(Graph::parse("2", "").unwrap(), Graph { users: 2, edges: vec![] });
        let wrong = |nodes, edges| Graph::parse(nodes, edges).unwrap_err().to_string();
        assert!(wrong("many", "").contains("\"many\""));
        assert!(wrong("0", "").contains("first line"));
        assert!(wrong("2", "0 1\n1 7\n").contains("line 2"));
        assert!(wrong("2", "1 1\n").contains("line 1"));
        assert!(wrong("2", "1 2 3\n").contains("line 1"));
    }
}
