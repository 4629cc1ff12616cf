//! The interface as elements that screen readers see: egui paints on a canvas, which is one silent picture to them.
//!
//! egui describes every frame as an AccessKit tree. Each of its nodes that says something becomes an invisible element at the node's place, in
//! reading order; a click on one, which screen readers send, becomes AccessKit's action. Keyboards need none of this: egui's own input has the focus.

use std::cell::RefCell;
use std::collections::HashMap;

use eframe::egui::accesskit::{Action, ActionRequest, Node, NodeId, Rect, Role, Toggled, TreeId, TreeUpdate};
use eframe::egui::{Context, Event, FullOutput, Plugin, RawInput};
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{Document, HtmlElement, window};

thread_local! {
    /// Elements belong to the page's thread; a plugin may belong to any.
    static MIRROR: RefCell<Option<Mirror>> = const { RefCell::new(None) };
    /// Clicks that egui has not seen.
    static CLICKED: RefCell<Vec<NodeId>> = const { RefCell::new(Vec::new()) };
}

/// Shows egui's tree in an element of the page and brings clicks back.
pub(crate) struct MirrorPlugin;

/// Shows the interface of `context` to screen readers in the element with the id "mirror".
pub(crate) fn install(context: &Context) {
    let Some(document) = window().and_then(|window| window.document()) else { return };
    let find = |id| document.get_element_by_id(id).and_then(|element| element.dyn_into::<HtmlElement>().ok());
    let Some((root, focus)) = find("mirror").zip(find("focus")) else { return };
    let wake = context.clone();
    MIRROR.set(Some(Mirror { document, root, focus, shown: HashMap::new(), order: Vec::new(), focused: None, wake }));
    context.enable_accesskit();
    context.add_plugin(MirrorPlugin);
}

impl Plugin for MirrorPlugin {
    fn debug_name(&self) -> &'static str {
        "accessibility mirror"
    }

    fn input_hook(&mut self, _: &Context, input: &mut RawInput) {
        let request = |target_node| ActionRequest { action: Action::Click, target_tree: TreeId::ROOT, target_node, data: None };
        input.events.extend(CLICKED.take().into_iter().map(|node| Event::AccessKitActionRequest(request(node))));
    }

    fn output_hook(&mut self, _: &Context, output: &mut FullOutput) {
        let Some(update) = output.platform_output.accesskit_update.take() else { return };
        MIRROR.with_borrow_mut(|mirror| mirror.as_mut().map(|mirror| mirror.update(&update)));
    }
}

struct Mirror {
    document: Document,
    root: HtmlElement,
    /// Says what has the focus.
    focus: HtmlElement,
    shown: HashMap<NodeId, Element>,
    order: Vec<NodeId>,
    focused: Option<NodeId>,
    wake: Context,
}

struct Element {
    html: HtmlElement,
    said: Said,
    _click: Closure<dyn FnMut()>,
}

/// What an element says, to change it only when it differs.
#[derive(Clone, Default, PartialEq)]
struct Said {
    role: &'static str,
    label: String,
    value: String,
    pressed: Option<bool>,
    is_disabled: bool,
    /// Left, top, width and height in CSS pixels.
    place: [i32; 4],
}

impl Mirror {
    fn update(&mut self, update: &TreeUpdate) {
        let nodes: HashMap<NodeId, &Node> = update.nodes.iter().map(|(id, node)| (*id, node)).collect();
        let mut order = Vec::new();
        if let Some(tree) = &update.tree {
            in_reading_order(tree.root, &nodes, &mut order);
        }
        order.retain(|id| {
            let said = nodes.get(id).and_then(|node| said(node, &nodes));
            said.map(|said| self.show(*id, said)).is_some()
        });
        if order != self.order {
            let gone: Vec<NodeId> = self.shown.keys().filter(|id| !nodes.contains_key(id) || !order.contains(id)).copied().collect();
            for element in gone.iter().filter_map(|id| self.shown.remove(id)) {
                element.html.remove();
            }
            for element in order.iter().filter_map(|id| self.shown.get(id)) {
                let _ = self.root.append_child(&element.html);
            }
            self.order = order;
        }
        if self.focused != Some(update.focus) {
            self.focused = Some(update.focus);
            let said = self.shown.get(&update.focus).map(|element| format!("{} {}", element.said.label, element.said.value));
            self.focus.set_text_content(said.as_deref().map(str::trim));
        }
    }

    fn show(&mut self, id: NodeId, said: Said) {
        if let Some(element) = self.shown.get_mut(&id) {
            if element.said != said {
                dress(&element.html, &said);
                element.said = said;
            }
            return;
        }
        let Some(html) = self.document.create_element("div").ok().and_then(|element| element.dyn_into::<HtmlElement>().ok()) else {
            return;
        };
        let wake = self.wake.clone();
        let click = Closure::<dyn FnMut()>::new(move || {
            CLICKED.with_borrow_mut(|clicked| clicked.push(id));
            wake.request_repaint();
        });
        html.set_onclick(Some(click.as_ref().unchecked_ref()));
        dress(&html, &said);
        self.shown.insert(id, Element { html, said, _click: click });
    }
}

fn in_reading_order(id: NodeId, nodes: &HashMap<NodeId, &Node>, order: &mut Vec<NodeId>) {
    order.push(id);
    for child in nodes.get(&id).map(|node| node.children()).unwrap_or_default() {
        in_reading_order(*child, nodes, order);
    }
}

/// What a node says; nothing if it is only there to hold others.
fn said(node: &Node, nodes: &HashMap<NodeId, &Node>) -> Option<Said> {
    let role = match node.role() {
        Role::Button | Role::DefaultButton | Role::ColorWell | Role::DisclosureTriangle => "button",
        Role::CheckBox | Role::Switch => "checkbox",
        Role::RadioButton => "radio",
        Role::TextInput | Role::MultilineTextInput => "textbox",
        Role::Slider | Role::SpinButton => "slider",
        Role::ComboBox => "combobox",
        Role::Link => "link",
        Role::Image => "img",
        Role::ProgressIndicator => "progressbar",
        Role::Label => "note",
        _ => return None,
    };
    // The text of a label is its value, and a field without a label is called what it asks for.
    let beside = || node.labelled_by().iter().find_map(|id| nodes.get(id)?.value());
    let (label, value) = match (node.label().or_else(beside).or(node.placeholder()), node.value()) {
        (Some(label), value) => (label.to_owned(), value.unwrap_or_default().to_owned()),
        (None, Some(text)) if role == "note" => (text.to_owned(), String::new()),
        (None, value) => (String::new(), value.unwrap_or_default().to_owned()),
    };
    let value = node.numeric_value().map_or(value, |number| format!("{number}"));
    if label.is_empty() && value.is_empty() && role != "textbox" {
        return None;
    }
    let pressed = node.toggled().map(|toggled| toggled == Toggled::True).or(node.is_selected());
    // In points, which are a page's pixels.
    let lengths = |bounds: Rect| [bounds.x0, bounds.y0, bounds.width(), bounds.height()].map(|length| length.round() as i32);
    let place = node.bounds().map_or([0; 4], lengths);
    Some(Said { role, label, value, pressed, is_disabled: node.is_disabled(), place })
}

fn dress(html: &HtmlElement, said: &Said) {
    // An element may have been something else a frame ago: what does not apply any more goes.
    let set = |name: &str, value: Option<&str>| {
        // Names of attributes are constants, and valid.
        let _ = match value {
            Some(value) => html.set_attribute(name, value),
            None => html.remove_attribute(name),
        };
    };
    let is_number = matches!(said.role, "slider" | "progressbar") && !said.value.is_empty();
    let is_choice = matches!(said.role, "checkbox" | "radio");
    let pressed = said.pressed.map(|is_pressed| if is_pressed { "true" } else { "false" });
    set("role", Some(said.role));
    set("aria-label", Some(&said.label));
    set("aria-valuenow", Some(said.value.as_str()).filter(|_| is_number));
    set("aria-disabled", Some(if said.is_disabled { "true" } else { "false" }));
    set("aria-checked", pressed.filter(|_| is_choice));
    set("aria-pressed", pressed.filter(|_| !is_choice));
    html.set_text_content(Some(said.value.as_str()).filter(|_| !is_number));
    let [left, top, width, height] = said.place;
    let style = html.style();
    for (name, length) in [("left", left), ("top", top), ("width", width), ("height", height)] {
        let _ = style.set_property(name, &format!("{length}px"));
    }
}
