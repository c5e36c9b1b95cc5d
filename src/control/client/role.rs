//! Requests about the role of a director.

use super::Client;
use crate::control::api::path;
use crate::control::api::role::{RoleRequest, RoleStatus};
use crate::model::{Diagnostic, Role};

impl Client {
    /// Returns the role of the director.
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub async fn role(&self) -> Result<RoleStatus, Diagnostic> {
        self.read(path::ROLE).await
    }

    /// Sets the role of the director.
    ///
    /// # Errors
    /// [`Diagnostic`]; also if commands are not the source of its role.
    pub async fn set_role(&self, role: Role) -> Result<(), Diagnostic> {
        let body = serde_json::to_vec(&RoleRequest { role });
        self.post(path::ROLE, body.map_err(|error| self.broken(error.to_string()))?).await
    }
}
