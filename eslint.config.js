// House rules that a linter can hold (CONTRIBUTING.md); who may import whom is held by test/house.
// No rule needs type information: the whole tree is linted in seconds. What is unused, tsc tells.
import tseslint from "typescript-eslint";

const forbid = (selector, message) => ({ selector, message });

export default tseslint.config(
  { ignores: ["**/node_modules/", "build/", "coverage/", ".lab/"] },
  {
    files: ["**/*.ts"],
    languageOptions: { parser: tseslint.parser },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    plugins: { "@typescript-eslint": tseslint.plugin },
    rules: {
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/no-non-null-assertion": "error",
      "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "inline-type-imports" }],
      "@typescript-eslint/ban-ts-comment": "error",
      "eqeqeq": "error",
      "no-fallthrough": "error",
      "no-unreachable": "error",
      "no-var": "error",
      "prefer-const": "error",
      "max-lines": ["error", 250],
      "max-lines-per-function": ["error", { max: 40, IIFEs: true }],
      "no-restricted-syntax": [
        "error",
        forbid("ExportDefaultDeclaration", "Export by name: a default export has another name in every file."),
        forbid("TSEnumDeclaration", "No enums: a union of literals erases and prints."),
        forbid("TSParameterProperty", "No parameter properties: they do not erase."),
        forbid("TSModuleDeclaration[kind='namespace']", "No namespaces: a file is a module."),
      ],
    },
  },
  {
    files: ["src/**/*.ts"],
    rules: { "@typescript-eslint/explicit-module-boundary-types": "error" },
  },
  {
    files: ["test/**/*.ts", "bench/**/*.ts"],
    rules: { "max-lines-per-function": "off" },
  },
  {
    // jest calls a module's default export.
    files: ["test/e2e/setup.ts", "test/e2e/teardown.ts", "test/contract/setup.ts"],
    rules: { "no-restricted-syntax": "off" },
  },
);
