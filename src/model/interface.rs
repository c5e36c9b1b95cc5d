//! Index of a director interface.

/// Index of a director interface: 0 is the client side, 1 the server side of a director with two
/// interfaces. A director with one interface has index 0 only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceIndex(pub u8);

impl InterfaceIndex {
    /// The interface that receives VIP traffic.
    pub const CLIENT: Self = Self(0);
}
