//! Entry point of the WASM application.

fn main() {
    console_error_panic_hook::set_once();
    pmo_web::client::install();
    leptos::mount::mount_to_body(pmo_web::App);
}
