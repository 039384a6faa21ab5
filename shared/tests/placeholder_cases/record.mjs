// Asks the npm package @truto/replace-placeholders what it makes of placeholder cases.
//
//   mkdir /tmp/package && cd /tmp/package && npm install @truto/replace-placeholders@1.0.11
//   node …/placeholder_cases/record.mjs < …/recorded.json > /tmp/recorded.json
//
// Reads [{scope, cases: [{template, …}]}] and adds to each case `library`, one of
//   {"value": …}                  what it returned
//   {"undefined": true}           it returned undefined
//   {"unresolved": true}          a placeholder was left as literal text
//   {"throws": "first line"}      it threw
// A case in which Syncline differs on purpose says why in `differs` and what it gives instead in `syncline`
// (`value`, `absent`, `unresolved` or `invalid`); write a new case without `library` and record again.
// The package is taken from node_modules in the current folder.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const entry = join(process.cwd(), 'node_modules/@truto/replace-placeholders/dist/module.js');
const { default: replacePlaceholders } = await import(pathToFileURL(entry));

const PLACEHOLDER = /{{[\w\-./|:?\s]+}}/g;

function strings(value) {
  if (typeof value === 'string') return [value];
  if (value === null || typeof value !== 'object') return [];
  return Object.values(value).flatMap(strings);
}

function ask(template, scope) {
  let value;
  try {
    value = replacePlaceholders(structuredClone(template), structuredClone(scope));
  } catch (error) {
    return { throws: error.message.split('\n')[0] };
  }
  if (value === undefined) return { undefined: true };
  const written = new Set(strings(template).flatMap((text) => text.match(PLACEHOLDER) ?? []));
  const left = strings(value).flatMap((text) => text.match(PLACEHOLDER) ?? []);
  return left.some((placeholder) => written.has(placeholder)) ? { unresolved: true } : { value };
}

const groups = JSON.parse(readFileSync(0, 'utf8'));
for (const group of groups) {
  for (const entry of group.cases) entry.library = ask(entry.template, group.scope);
}

// One line a case, for readable differences.
const lines = groups.map(
  ({ scope, cases }) =>
    `{"scope": ${JSON.stringify(scope)},\n "cases": [\n  ${cases.map((entry) => JSON.stringify(entry)).join(',\n  ')}]}`,
);
process.stdout.write(`[${lines.join(',\n')}]\n`);
