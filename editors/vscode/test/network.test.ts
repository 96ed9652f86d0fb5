import assert from "node:assert/strict";
import { test } from "node:test";
import { looksLikeNetwork } from "../src/network";
import texts from "./texts.json";

for (const [kind, expected] of [
  ["network", true],
  ["other", false],
] as const) {
  for (const text of texts[kind]) {
    test(`${kind}: ${JSON.stringify(text)}`, () => {
      assert.equal(looksLikeNetwork(text), expected);
    });
  }
}
