/** The templates in ComfyUI's menu, from the easiest to the heaviest, under the titles that their notes have. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { GROUPS, TEMPLATES } from "./lib/template_list.js";

const FOLDER = decodeURIComponent(new URL(import.meta.url).pathname.split("/extensions/")[1].split("/")[0]);

async function open(name) {
  const answer = await api.fetchApi(`/workflow_templates/${encodeURIComponent(FOLDER)}/${name}.json`);
  if (!answer.ok) throw new Error(`The template ${name} is not there (${answer.status}).`);
  await app.loadGraphData(await answer.json(), true, true, name, { openSource: "template" });
}

const idOf = (name) => `SemanticEdit.Template.${name}`;
const commands = TEMPLATES.map(([name, title], index) => ({
  id: idOf(name),
  label: `${index + 1}. ${title}`,
  icon: "pi pi-images",
  function: () => open(name),
}));

app.registerExtension({
  name: "SemanticEdit.Templates",
  commands,
  menuCommands: Object.entries(GROUPS).map(([group, entries]) => ({
    path: ["Semantic Edit", group],
    commands: entries.map(([name]) => idOf(name)),
  })),
});
