//! The row of the cluster, decoded: who the members are, and whose each shard is since when.
//!
//! MessagePack maps with names, under a format number; owners stand as runs of shards, since for long all of them have
//! the same.

use serde::{Deserialize, Serialize};

use super::{
    config::CqlError,
    db::ClusterRow,
    protocol::{Owner, SHARDS},
};

const FORMAT: u8 = 1;

/// A process that has shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Member {
    /// Its own for ever: a restarted process is another member.
    pub(super) id: String,
    /// What its server is called.
    pub(super) node: String,
    /// The datacentre whose quorums it writes and reads by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) datacenter: Option<String>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cluster {
    pub(super) version: u64,
    pub(super) members: Vec<Member>,
    /// By shard; a member is its place in `members`.
    pub(super) owners: Vec<Option<Owner<usize>>>,
    /// Where the last one that claimed anything stood, also when it has left: what it wrote may be on no quorum elsewhere.
    pub(super) datacenter: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Members {
    v: u8,
    members: Vec<Member>,
    /// Rows of before have none, and who knows none reads past it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    datacenter: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Owners {
    v: u8,
    runs: Vec<Run>,
}

#[derive(Serialize, Deserialize)]
struct Run {
    shards: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    member: Option<usize>,
    since: u64,
}

impl Cluster {
    /// Nobody has anything.
    pub(super) fn empty() -> Self {
        Self { version: 0, members: Vec::new(), owners: vec![None; usize::from(SHARDS)], datacenter: None }
    }

    pub(super) fn decode(row: &ClusterRow) -> Result<Self, CqlError> {
        let bad = |why: String| CqlError::Cluster(why);
        let members: Members = rmp_serde::from_slice(&row.members).map_err(|e| bad(format!("members: {e}")))?;
        let owners: Owners = rmp_serde::from_slice(&row.owners).map_err(|e| bad(format!("owners: {e}")))?;
        let newest = members.v.max(owners.v);
        if newest > FORMAT {
            return Err(bad(format!("it is of format {newest}, newer than {FORMAT}")));
        }
        let mut found = Vec::with_capacity(usize::from(SHARDS));
        for run in owners.runs {
            if run.member.is_some_and(|member| member >= members.members.len()) {
                return Err(bad("a shard is of a member that is not there".to_owned()));
            }
            let owner = run.member.map(|member| Owner { member, since: run.since });
            found.extend(std::iter::repeat_n(owner, usize::from(run.shards)));
        }
        if found.len() != usize::from(SHARDS) {
            return Err(bad(format!("it has {} shards, not {SHARDS}", found.len())));
        }
        let Members { members, datacenter, .. } = members;
        Ok(Self { version: row.version, members, owners: found, datacenter })
    }

    pub(super) fn encode(&self) -> Result<ClusterRow, CqlError> {
        let bad = |e: rmp_serde::encode::Error| CqlError::Cluster(e.to_string());
        let mut runs: Vec<Run> = Vec::new();
        for owner in &self.owners {
            let (member, since) = owner.map_or((None, 0), |owner| (Some(owner.member), owner.since));
            match runs.last_mut() {
                Some(run) if run.member == member && run.since == since => run.shards += 1,
                _ => runs.push(Run { shards: 1, member, since }),
            }
        }
        let members = Members { v: FORMAT, members: self.members.clone(), datacenter: self.datacenter.clone() };
        Ok(ClusterRow {
            version: self.version,
            members: rmp_serde::to_vec_named(&members).map_err(bad)?,
            owners: rmp_serde::to_vec_named(&Owners { v: FORMAT, runs }).map_err(bad)?,
        })
    }

    /// Whose a shard is, by id.
    pub(super) fn owner(&self, shard: usize) -> Option<Owner<&str>> {
        let owner = (*self.owners.get(shard)?)?;
        let member = self.members.get(owner.member)?;
        Some(Owner { member: &member.id, since: owner.since })
    }

    /// Every datacentre in which something may have been written that is nowhere else yet.
    pub(super) fn datacenters(&self) -> impl Iterator<Item = &str> {
        self.members.iter().filter_map(|member| member.datacenter.as_deref()).chain(self.datacenter.as_deref())
    }

    /// This cluster after `me` has taken every shard that `may` lets it take; members without a shard leave.
    pub(super) fn taken(&self, me: &Member, may: impl Fn(Option<&Member>) -> bool) -> Self {
        let version = self.version + 1;
        let mut next = Self {
            version,
            members: vec![me.clone()],
            owners: Vec::with_capacity(self.owners.len()),
            datacenter: me.datacenter.clone().or_else(|| self.datacenter.clone()),
        };
        for owner in &self.owners {
            let member = owner.and_then(|owner| self.members.get(owner.member));
            let keeps = owner.zip(member).filter(|(_, member)| !may(Some(member)));
            let owner = match keeps {
                None => Owner { member: 0, since: version },
                Some((owner, member)) => Owner { member: next.place_of(member), since: owner.since },
            };
            next.owners.push(Some(owner));
        }
        next
    }

    /// This cluster after `me` has given up all that it has. Where that was written stays known.
    pub(super) fn left(&self, me: &str) -> Self {
        let of_me = self.members.iter().find(|member| member.id == me).and_then(|member| member.datacenter.clone());
        let mut next = Self {
            version: self.version + 1,
            members: Vec::new(),
            owners: Vec::with_capacity(self.owners.len()),
            // A row of before says it of its members alone.
            datacenter: of_me.or_else(|| self.datacenter.clone()),
        };
        for owner in &self.owners {
            let member = owner.and_then(|owner| self.members.get(owner.member)).filter(|member| member.id != me);
            let kept = owner.zip(member);
            let kept = kept.map(|(owner, member)| Owner { member: next.place_of(member), since: owner.since });
            next.owners.push(kept);
        }
        next
    }

    fn place_of(&mut self, member: &Member) -> usize {
        self.members.iter().position(|there| there == member).unwrap_or_else(|| {
            self.members.push(member.clone());
            self.members.len() - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str) -> Member {
        Member { id: id.to_owned(), node: format!("node of {id}"), datacenter: (id == "a").then(|| "dc1".to_owned()) }
    }

    #[test]
    fn it_comes_back_as_it_was_written() {
        let mut cluster = Cluster::empty().taken(&member("a"), |_| true);
        assert_eq!(Cluster::decode(&cluster.encode().unwrap()).unwrap(), cluster);
        cluster.owners[7] = None;
        cluster = cluster.taken(&member("b"), |owner| owner.is_none());
        let back = Cluster::decode(&cluster.encode().unwrap()).unwrap();
        assert_eq!(back, cluster);
        assert_eq!(back.owner(7), Some(Owner { member: "b", since: 2 }));
        assert_eq!(back.owner(8), Some(Owner { member: "a", since: 1 }));
        let left = back.left("a");
        assert_eq!((left.owner(7), left.owner(8)), (Some(Owner { member: "b", since: 2 }), None));
        assert_eq!(left.members, [member("b")]);
        assert_eq!(left.datacenter.as_deref(), Some("dc1"), "where what is left was written");
        let alone = left.left("b");
        assert_eq!((alone.members.len(), alone.datacenters().collect::<Vec<_>>()), (0, vec!["dc1"]));
        assert_eq!(Cluster::decode(&alone.encode().unwrap()).unwrap(), alone);
    }

    #[test]
    fn rows_of_before_are_read_and_are_read_by_who_was_before() {
        #[derive(Serialize, Deserialize)]
        struct Before {
            v: u8,
            members: Vec<Member>,
        }
        let taken = Cluster::empty().taken(&member("a"), |_| true);
        let now = taken.encode().unwrap();
        let before: Before = rmp_serde::from_slice(&now.members).unwrap();
        assert_eq!(before.members, [member("a")]);
        let row = ClusterRow { members: rmp_serde::to_vec_named(&before).unwrap(), ..now };
        let read = Cluster::decode(&row).unwrap();
        assert_eq!(read, Cluster { datacenter: None, ..taken });
        assert_eq!(read.datacenters().collect::<Vec<_>>(), ["dc1"]);
        assert_eq!(read.left("a").datacenter.as_deref(), Some("dc1"));
    }

    #[test]
    fn what_is_damaged_or_newer_is_refused() {
        let row = Cluster::empty().taken(&member("a"), |_| true).encode().unwrap();
        let newer = Members { v: 2, members: vec![], datacenter: None };
        let cases = [
            ClusterRow { members: vec![0xc1], ..row.clone() },
            ClusterRow { owners: vec![], ..row.clone() },
            ClusterRow { members: rmp_serde::to_vec_named(&newer).unwrap(), ..row.clone() },
            ClusterRow { owners: rmp_serde::to_vec_named(&Owners { v: 1, runs: vec![] }).unwrap(), ..row.clone() },
        ];
        for case in cases {
            assert!(matches!(Cluster::decode(&case), Err(CqlError::Cluster(_))), "{case:?}");
        }
        assert!(row.owners.len() < 64, "{} bytes", row.owners.len());
    }
}
