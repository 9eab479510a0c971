// SPDX-License-Identifier: Apache-2.0
//! Prints what `wharf crds` prints, without building the rest of Wharf: `make crds` writes it into `crds/`.

use std::io::{self, Write as _};

fn main() -> io::Result<()> {
    io::stdout()
        .lock()
        .write_all(wharf_api::crds_yaml().as_bytes())
}
