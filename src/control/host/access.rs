//! Who may do what at the control socket, by the credentials that the kernel has of them.
//!
//! | who | may |
//! |---|---|
//! | root, the user that the director runs as, members of `control_group` | read and change |
//! | all others | what `control_others` says |

use crate::model::ControlOthers;
use crate::sys::PeerCredentials;
use std::fmt::{self, Display, Formatter};

/// The user that may do everything.
pub(in crate::control) const ROOT: u32 = 0;

/// What somebody may do; each includes those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Nothing at all.
    Nothing,
    /// Read everything.
    Read,
    /// Change what runs.
    Change,
}

/// The rules of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The group whose members may change, by id and name.
    pub group: Option<(u32, String)>,
    /// What those may who are nobody else.
    pub others: ControlOthers,
}

impl Access {
    /// What `peer` may do with a director that runs as user `own`.
    #[must_use]
    pub fn right(&self, peer: &PeerCredentials, own: u32) -> Permission {
        let is_member = self.group.as_ref().is_some_and(|(group, _)| peer.is_in(*group));
        match self.others {
            _ if is_member || [ROOT, own].contains(&peer.user) => Permission::Change,
            ControlOthers::Read => Permission::Read,
            ControlOthers::Nothing => Permission::Nothing,
        }
    }

    /// The socket's file mode: nobody is let in who would be sent away.
    #[must_use]
    pub fn mode(&self) -> u32 {
        match (self.others, &self.group) {
            (ControlOthers::Read, _) => 0o666,
            (ControlOthers::Nothing, Some(_)) => 0o660,
            (ControlOthers::Nothing, None) => 0o600,
        }
    }

    /// What is said to `who`, whose right is not enough: who it is, who may, what to do.
    #[must_use]
    pub fn refusal(&self, who: &PeerUser, right: Permission, own: &PeerUser) -> String {
        let limit =
            if right == Permission::Read { "may read but not change" } else { "may neither read nor change" };
        let user = if own.user == ROOT { String::new() } else { own.to_string() };
        let (members, remedy) = match &self.group {
            Some((_, group)) => {
                (format!("members of group {group}"), "use sudo, or join that group and log in again")
            }
            None => (String::new(), "use sudo, or set control_group in [director]"),
        };
        let all = ["root", &user, &members].map(str::to_owned);
        format!(
            "{who} {limit}; {} may: {remedy}",
            list(all.into_iter().filter(|one| !one.is_empty()).collect())
        )
    }
}

/// "root, user 7 and members of group adm".
fn list(mut names: Vec<String>) -> String {
    let last = names.pop().unwrap_or_default();
    if names.is_empty() { last } else { format!("{} and {last}", names.join(", ")) }
}

/// A user as it is spoken of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerUser {
    /// User id.
    pub user: u32,
    /// Its name, if it has one.
    pub name: Option<String>,
}

impl Display for PeerUser {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "user {}", self.user)?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, " ({name})"))
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
    fn everybody_may_what_the_table_says() {
        let (root, own) = (peer(0, 0, &[0]), peer(OWN, OWN, &[]));
        let primary = peer(1000, ADM, &[]);
        let supplementary = peer(1000, 1000, &[7, ADM, 8]);
        // Ids of users and of groups are not the same thing.
        let other = peer(ADM, OWN, &[0, OWN]);
        for (group, others, rights) in [
            (
                true,
                Nothing,
                [
                    Permission::Change,
                    Permission::Change,
                    Permission::Change,
                    Permission::Change,
                    Permission::Nothing,
                ],
            ),
            (
                true,
                Read,
                [
                    Permission::Change,
                    Permission::Change,
                    Permission::Change,
                    Permission::Change,
                    Permission::Read,
                ],
            ),
            (
                false,
                Nothing,
                [
                    Permission::Change,
                    Permission::Change,
                    Permission::Nothing,
                    Permission::Nothing,
                    Permission::Nothing,
                ],
            ),
            (
                false,
                Read,
                [
                    Permission::Change,
                    Permission::Change,
                    Permission::Read,
                    Permission::Read,
                    Permission::Read,
                ],
            ),
        ] {
            let access = access(group, others);
            let all = [&root, &own, &primary, &supplementary, &other];
            assert_eq!(all.map(|peer| access.right(peer, OWN)), rights, "{access:?}");
        }
        assert!(Permission::Nothing < Permission::Read && Permission::Read < Permission::Change);
    }

    #[test]
    fn the_mode_lets_in_whoever_gets_an_answer() {
        let modes = [(false, Nothing), (true, Nothing), (false, Read), (true, Read)]
            .map(|(group, others)| access(group, others).mode());
        assert_eq!(modes, [0o600, 0o660, 0o666, 0o666]);
        assert_eq!(Access::default().mode(), 0o600);
    }

    #[test]
    fn a_refusal_says_who_who_may_and_what_to_do() {
        let person = |user, name: &str| PeerUser { user, name: (!name.is_empty()).then(|| name.into()) };
        let (nobody, own, root) = (person(65534, "nobody"), person(OWN, "directrix"), person(0, "root"));
        assert_eq!(
            access(true, Read).refusal(&nobody, Permission::Read, &own),
            "user 65534 (nobody) may read but not change; root, user 998 (directrix) and members of group adm may: \
             use sudo, or join that group and log in again"
        );
        assert_eq!(
            access(true, Nothing).refusal(&person(4711, ""), Permission::Nothing, &root),
            "user 4711 may neither read nor change; root and members of group adm may: \
             use sudo, or join that group and log in again"
        );
        assert_eq!(
            access(false, Read).refusal(&nobody, Permission::Read, &root),
            "user 65534 (nobody) may read but not change; root may: use sudo, or set control_group in [director]"
        );
    }
}
