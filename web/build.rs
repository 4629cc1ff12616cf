//! Links the engine so that its threads share one memory, which JavaScript makes: what `wasm-bindgen` needs for threads.

fn main() {
    if cfg!(feature = "threads") {
        let tls = ["__wasm_init_tls", "__tls_size", "__tls_align", "__tls_base"].map(|name| format!("--export={name}"));
        // All that 32-bit addresses reach: the browser takes what is used.
        let memory = ["--shared-memory", "--import-memory", "--max-memory=4294967296"].map(str::to_owned);
        for argument in memory.into_iter().chain(tls) {
            println!("cargo::rustc-link-arg-cdylib={argument}");
        }
    }
}
