import { globalIgnores } from "eslint/config";
import typescript from "typescript-eslint";

export default typescript.config(
  globalIgnores(["dist/", "node_modules/"]),
  { files: ["**/*.ts"], extends: [typescript.configs.strictTypeChecked] },
  { languageOptions: { parserOptions: { projectService: true } } },
  // node:test's functions return promises that nobody has to wait for
  { files: ["test/**"], rules: { "@typescript-eslint/no-floating-promises": "off" } },
);
