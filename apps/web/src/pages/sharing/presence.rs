//! Avatars of the users who view an entity.

use crate::hooks::use_presence;
use crate::ui::reactive::reactive_view;
use crate::ui::value_view;
use leptos::prelude::*;
use pmo_domain::EntityRef;

/// Avatars of the other users who have this entity open.
#[component]
pub(crate) fn PresenceAvatars(
    /// Entity that is open.
    entity: EntityRef,
) -> impl IntoView {
    let others = use_presence(entity);
    reactive_view(move || {
        let others = others.get();
        let names = others.iter().map(|user| user.name.as_str()).collect::<Vec<_>>().join(", ");
        let avatars: Vec<_> =
            others.iter().take(4).map(|user| value_view::avatar(&user.person_id.to_string(), &user.name)).collect();
        let hidden = others.len().saturating_sub(4);
        (!others.is_empty()).then(|| {
            let label = format!("Viewing now: {names}");
            view! { <span class="avatars" role="group" aria-label=label.clone() title=label data-testid="presence">{avatars}{(hidden > 0).then(|| view! { <span class="avatar" aria-hidden="true">{format!("+{hidden}")}</span> })}</span> }
        })
    })
}
