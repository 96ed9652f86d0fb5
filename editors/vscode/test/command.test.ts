import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { after, before, test } from "node:test";
import { expand, failed, find, missing } from "../src/command";

let folder = "";

before(() => {
  folder = mkdtempSync(path.join(tmpdir(), "netspec-"));
  writeFileSync(path.join(folder, "netspec"), "");
  chmodSync(path.join(folder, "netspec"), 0o755);
  writeFileSync(path.join(folder, "text"), "");
  chmodSync(path.join(folder, "text"), 0o644);
  mkdirSync(path.join(folder, "directory"));
});

after(() => {
  rmSync(folder, { recursive: true });
});

test("the folder and the home folder are put in", () => {
  const expanded = expand([`\${workspaceFolder}/bin/netspec`, "~/x", "a~b", "~x"], "/net", "/home/me");
  assert.deepEqual(expanded, ["/net/bin/netspec", "/home/me/x", "a~b", "~x"]);
  assert.deepEqual(expand([`\${workspaceFolder}/x`], undefined, "/"), [`\${workspaceFolder}/x`]);
});

test("a program is found by name and by path", async () => {
  const environment = { PATH: `/nowhere:${folder}` };
  assert.equal(await find("netspec", environment), path.join(folder, "netspec"));
  assert.equal(await find(path.join(folder, "netspec"), {}), path.join(folder, "netspec"));
});

test("what cannot be run is not found", async () => {
  const environment = { PATH: folder };
  for (const name of ["gone", "text", "directory", "./netspec"]) {
    assert.equal(await find(name, environment), undefined, name);
  }
  assert.equal(await find("netspec", {}), undefined);
});

test("messages say what to do", () => {
  assert.match(
    missing("netspec"),
    /no program netspec\. Install it with pip install "netspec-runner\[lsp\]"/,
  );
  assert.match(
    failed(["netspec", "lsp"], "warning: x\nerror: needs pygls: pip install y\n\n"),
    /\(netspec lsp\): error: needs pygls: pip install y$/,
  );
  assert.match(failed(["netspec"], ""), /it said nothing$/);
});
