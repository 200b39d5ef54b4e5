/** One error class; anything thrown becomes one of it. */
import { describe, expect, it } from "@jest/globals";
import { asOperatorError, explain, OperatorError } from "../../src/core/errors.ts";

describe("anything thrown", () => {
  it("stays what it is if it is ours", () => {
    const error = new OperatorError("denied", "Cannot add link: no permission");
    expect(asOperatorError(error)).toBe(error);
    expect(error).toMatchObject({ name: "OperatorError", context: {}, cure: undefined });
    expect(error).not.toHaveProperty("cause");
  });

  it.each([[new TypeError("x"), "x"], ["text", "text"], [undefined, "undefined"], [null, "null"], [{ a: 1 }, "[object Object]"]])("else is a bug that keeps its cause", (thrown, message) => {
    expect(asOperatorError(thrown)).toMatchObject({ code: "bug", message });
    if (thrown !== undefined) expect(asOperatorError(thrown).cause).toBe(thrown);
  });
});

it("is explained with its cure", () => {
  expect(explain(new OperatorError("invalid", "Cannot use X: bad", { cure: "Say Y" }))).toBe("Cannot use X: bad. Say Y");
  expect(explain(new OperatorError("invalid", "Cannot use X: bad"))).toBe("Cannot use X: bad");
});
