const at = id => document.getElementById(id);
async function translate(event) {
  event?.preventDefault();
  if (!at("text").value.trim()) return;
  at("go").disabled = true;
  at("note").textContent = "Translating …";
  const begin = performance.now();
  try {
    const answer = await fetch("translate", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        source: at("source").value, target: at("target").value, text: at("text").value }),
    });
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
    at("translation").textContent = found.translation.text;
    at("note").textContent = `${((performance.now() - begin) / 1000).toFixed(1)} s`
      + (found.translation.is_complete ? "" : "; stopped at the length limit");
  } catch (error) {
    at("translation").textContent = "";
    at("note").textContent = error.message;
  } finally {
    at("go").disabled = false;
  }
}
at("form").addEventListener("submit", translate);
at("text").addEventListener("keydown", event => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) translate(event);
});
