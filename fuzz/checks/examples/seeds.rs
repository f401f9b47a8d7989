//! Writes the seeds that are made of real tokens: `cargo run -p itron-core-fuzz-checks --example seeds`, in `fuzz/`.

use itron_core::format::claims::Claims;
use itron_core::format::cose::Envelope;
use itron_core_fuzz_checks::issuers::{GENUINE, KNOWN};
use std::path::Path;

fn main() -> std::io::Result<()> {
    for genuine in GENUINE.iter().filter(|genuine| genuine.issuer < KNOWN) {
        let name = format!("{}-{}", genuine.token_type.name(), genuine.issuer);
        let envelope = Envelope::read(&genuine.token, usize::MAX).expect("a genuine token");
        let claims = Claims::read(envelope.payload, genuine.token_type).expect("claims of a genuine token");
        write("token", &name, &genuine.token)?;
        write("cose", &name, &genuine.token)?;
        write("cose", &format!("{name}-protected"), envelope.protected)?;
        if genuine.issuer == 0 {
            write("cbor", &name, &genuine.token)?;
            write("cbor", &format!("{name}-payload"), envelope.payload)?;
            write("claims", &name, envelope.payload)?;
            if let Some(scope) = claims.scope {
                write("claims", &format!("{name}-scope"), &scope.to_bytes())?;
            }
        }
    }
    Ok(())
}

fn write(target: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let folder = Path::new("seeds").join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(name), bytes)
}
