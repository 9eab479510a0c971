// SPDX-License-Identifier: Apache-2.0
//! Layer archives: scanned, packed, unpacked. Synchronous, no network.
