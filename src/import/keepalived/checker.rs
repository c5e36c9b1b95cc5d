//! A checker of keepalived, with the blocks that it inherits settings from.

use super::statement::Statement;

/// A checker with the blocks that it inherits from, and the file around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checker<'s> {
    pub(super) block: &'s Statement,
    pub(super) server: &'s Statement,
    pub(super) service: &'s Statement,
    /// All statements of the file.
    pub(super) root: &'s [Statement],
}

impl<'s> Checker<'s> {
    /// Keyword of the checker.
    pub(super) fn name(&self) -> &'s str {
        self.block.keyword()
    }

    /// Finds a setting in the checker, else in its server, else in the service. The last of several counts.
    pub(super) fn find(&self, keyword: &str) -> Option<&'s Statement> {
        [self.block, self.server, self.service].into_iter().find_map(|block| last(block, keyword))
    }
}

/// The last statement with this keyword in a block.
pub(super) fn last<'s>(block: &'s Statement, keyword: &str) -> Option<&'s Statement> {
    block.statements().iter().rev().find(|statement| statement.keyword() == keyword)
}

/// Whether a keyword that stands alone or with a boolean is set.
pub(super) fn is_set(statement: &Statement) -> bool {
    !matches!(statement.value(), Some("false" | "off" | "no"))
}
