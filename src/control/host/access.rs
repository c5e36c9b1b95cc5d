//! Access rights of the control socket's clients, by their kernel credentials.
//!
//! | client | rights |
//! |---|---|
//! | root, the director's own user, members of `control_group` | read and change |
//! | all others | set by `control_others` |

use crate::model::ControlOthers;
use crate::sys::PeerCredentials;
use std::fmt::{self, Display, Formatter};

/// User id of root.
pub(in crate::control) const ROOT: u32 = 0;

/// The right of a client; each includes the ones before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// No request.
    Nothing,
    /// Every request that reads.
    Read,
    /// Every request.
    Change,
}

/// The access rights that a configuration gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Id and name of the group whose members may change.
    pub group: Option<(u32, String)>,
    /// The right of all other clients.
    pub others: ControlOthers,
}

impl Access {
    /// Returns the right of `peer` with a director that runs as user `own`.
    #[must_use]
    pub fn permission(&self, peer: &PeerCredentials, own: u32) -> Permission {
        let is_member = self.group.as_ref().is_some_and(|(group, _)| peer.is_in(*group));
        match self.others {
            _ if is_member || [ROOT, own].contains(&peer.user) => Permission::Change,
            ControlOthers::Read => Permission::Read,
            ControlOthers::Nothing => Permission::Nothing,
        }
    }

    /// Returns the socket's file mode: it admits only users with a right.
    #[must_use]
    pub fn mode(&self) -> u32 {
        match (self.others, &self.group) {
            (ControlOthers::Read, _) => 0o666,
            (ControlOthers::Nothing, Some(_)) => 0o660,
            (ControlOthers::Nothing, None) => 0o600,
        }
    }

    /// Returns the error for a user without the right: its identity, the users that have it, the remedy.
    #[must_use]
    pub fn denial(&self, user: &PeerUser, permission: Permission, own: &PeerUser) -> String {
        let limit = if permission == Permission::Read {
            "may read but not change"
        } else {
            "may neither read nor change"
        };
        let own = if own.user == ROOT { String::new() } else { own.to_string() };
        let (members, remedy) = match &self.group {
            Some((_, group)) => {
                (format!("members of group {group}"), "use sudo, or join that group and log in again")
            }
            None => (String::new(), "use sudo, or set control_group in [director]"),
        };
        let all = ["root", &own, &members].map(str::to_owned);
        format!(
            "{user} {limit}; {} may: {remedy}",
            list(all.into_iter().filter(|one| !one.is_empty()).collect())
        )
    }
}

/// Joins names: "root, user 7 and members of group adm".
fn list(mut names: Vec<String>) -> String {
    let last = names.pop().unwrap_or_default();
    if names.is_empty() { last } else { format!("{} and {last}", names.join(", ")) }
}

/// A user by id and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerUser {
    /// User id.
    pub user: u32,
    /// Its name, if known.
    pub name: Option<String>,
}

impl Display for PeerUser {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "user {}", self.user)?;
        match &self.name {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ControlOthers::{Nothing, Read};

    const OWN: u32 = 998;
    const ADM: u32 = 4;

    fn access(group: bool, others: ControlOthers) -> Access {
        Access { group: group.then(|| (ADM, "adm".into())), others }
    }

    fn peer(user: u32, group: u32, groups: &[u32]) -> PeerCredentials {
        PeerCredentials { user, group, groups: groups.to_vec(), process: 1 }
    }

    #[test]
    fn rights_follow_the_table() {
        let (root, own) = (peer(0, 0, &[0]), peer(OWN, OWN, &[]));
        let primary = peer(1000, ADM, &[]);
        let supplementary = peer(1000, 1000, &[7, ADM, 8]);
        // A user id that equals the id of the group.
        let other = peer(ADM, OWN, &[0, OWN]);
        let [change, read, none] = [Permission::Change, Permission::Read, Permission::Nothing];
        for (group, others, rights) in [
            (true, Nothing, [change, change, change, change, none]),
            (true, Read, [change, change, change, change, read]),
            (false, Nothing, [change, change, none, none, none]),
            (false, Read, [change, change, read, read, read]),
        ] {
            let access = access(group, others);
            let all = [&root, &own, &primary, &supplementary, &other];
            assert_eq!(all.map(|peer| access.permission(peer, OWN)), rights, "{access:?}");
        }
        assert!(Permission::Nothing < Permission::Read && Permission::Read < Permission::Change);
    }

    #[test]
    fn mode_admits_users_with_a_right() {
        let modes = [(false, Nothing), (true, Nothing), (false, Read), (true, Read)]
            .map(|(group, others)| access(group, others).mode());
        assert_eq!(modes, [0o600, 0o660, 0o666, 0o666]);
        assert_eq!(Access::default().mode(), 0o600);
    }

    #[test]
    fn denial_names_user_allowed_users_and_remedy() {
        let user = |user, name: &str| PeerUser { user, name: (!name.is_empty()).then(|| name.into()) };
        let (reader, own, root) = (user(1000, "ann"), user(OWN, "directrix"), user(0, "root"));
        assert_eq!(
            access(true, Read).denial(&reader, Permission::Read, &own),
            "user 1000 (ann) may read but not change; root, user 998 (directrix) and members of group adm may: \
             use sudo, or join that group and log in again"
        );
        assert_eq!(
            access(true, Nothing).denial(&user(4711, ""), Permission::Nothing, &root),
            "user 4711 may neither read nor change; root and members of group adm may: \
             use sudo, or join that group and log in again"
        );
        assert_eq!(
            access(false, Read).denial(&reader, Permission::Read, &root),
            "user 1000 (ann) may read but not change; root may: use sudo, or set control_group in [director]"
        );
    }
}
