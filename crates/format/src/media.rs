//! What all structures have in common: views of their bytes, and sizes that are proved when this crate compiles.

/// Gives a structure its byte views and asserts its size.
macro_rules! media_type {
    ($name:ident, $size:expr) => {
        const _: () = assert!(size_of::<$name>() == $size && align_of::<$name>() == 1);

        impl $name {
            /// Bytes on the medium.
            pub const BYTES: usize = $size;

            /// All zeros.
            pub fn zeroed() -> Self {
                zerocopy::FromZeros::new_zeroed()
            }

            /// These bytes, unchecked: any bytes are a value of this type, `verify` tells whether it is a right one.
            pub fn from_bytes(bytes: &[u8; $size]) -> &Self {
                zerocopy::transmute_ref!(bytes)
            }

            /// These bytes, unchecked, to change.
            pub fn from_bytes_mut(bytes: &mut [u8; $size]) -> &mut Self {
                zerocopy::transmute_mut!(bytes)
            }

            /// Its bytes.
            pub fn as_bytes(&self) -> &[u8; $size] {
                zerocopy::transmute_ref!(self)
            }

            /// Its bytes, to change.
            pub fn as_bytes_mut(&mut self) -> &mut [u8; $size] {
                zerocopy::transmute_mut!(self)
            }
        }
    };
}
pub(crate) use media_type;
