// Three layers, one runner: unit needs nothing, kernel needs root, e2e needs a lab (started by its own global setup).
const base = {
  testEnvironment: "node",
  // Else a global that is set after its file has ended (a hook timed out) calls itself without end, and every later file fails.
  testEnvironmentOptions: { globalsCleanup: "off" },
  extensionsToTreatAsEsm: [".ts"],
  transform: {
    "^.+\\.ts$": ["@swc/jest", {
      jsc: { parser: { syntax: "typescript" }, target: "es2023" }, module: { type: "es6" }, sourceMaps: "inline",
    }],
  },
};
const project = (name, folders, extra = {}) => ({
  ...base, displayName: name, testMatch: folders.map((folder) => `<rootDir>/test/${folder}/**/*.test.ts`), ...extra,
});

export default {
  maxWorkers: 2,
  workerIdleMemoryLimit: "400MB",
  testSequencer: "<rootDir>/test/e2e/order.cjs",
  testTimeout: 300_000,
  projects: [
    project("unit", ["core", "plan", "parser", "plugin", "sources", "sinks", "scenarios", "cli", "house"]),
    project("kernel", ["contract", "kernel"], { globalSetup: "<rootDir>/test/contract/setup.ts" }),
    project("e2e", ["e2e"], { setupFilesAfterEnv: ["<rootDir>/test/e2e/consoles.ts"], globalSetup: "<rootDir>/test/e2e/setup.ts", globalTeardown: "<rootDir>/test/e2e/teardown.ts" }),
  ],
};
