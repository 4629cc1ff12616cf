import { load } from "./polyglance.js";

const [picker, labels, result] = ["image", "labels", "result"].map((id) => document.getElementById(id));
const say = (text) => (result.textContent = text);
const loading = load({ model: "demo" });
loading.then(({ info }) => say(`Ready on ${info.device}.`), (error) => say(error.message));
let image;

async function show() {
  const names = labels.value.split(",").map((label) => label.trim()).filter(Boolean);
  if (image === undefined || names.length === 0) return;
  const model = await loading;
  const scores = await model.classify(image, names);
  scores.sort((a, b) => b.logit - a.logit);
  say(scores.map(({ label, share }) => `${(100 * share).toFixed(1).padStart(5)} %  ${label}`).join("\n"));
}

function take(files) {
  image = files[0] ?? image;
  show().catch((error) => say(error.message));
}

picker.addEventListener("change", () => take(picker.files));
labels.addEventListener("change", () => take([]));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  take(event.dataTransfer.files);
});
