// Files: upload, resume, preview and download; active content is never executed.
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, grantAccess, importPlan, samplePlan, test } from "./fixtures.mjs";
import { root } from "./servers.mjs";

const picture = readFileSync(join(root, "docs", "pictures", "sign-in.png"));
const uploads = (page) => page.getByRole("region", { name: "Uploads" });
const chooseFiles = (page, files) => page.locator(".drop-zone input[type=file]").setInputFiles(files);

test("an uploaded file appears for other users, is previewed and downloaded, and gets a new version", async ({ signInAs, servers }) => {
  const { id, token } = await importPlan("editor", samplePlan, "With files");
  await grantAccess(servers, token, "viewer", id, 0);
  const [editor, viewer] = [await signInAs("editor"), await signInAs("viewer")];
  await viewer.goto(`/project/${id}/artifact`);
  await expect(viewer.locator("main .topbar")).toBeVisible();
  await expect(viewer.getByRole("button", { name: "Choose files" })).toHaveCount(0);
  await editor.goto(`/project/${id}/artifact`);
  await chooseFiles(editor, { name: "sketch.png", mimeType: "text/html", buffer: picture });
  await expect(editor.getByRole("navigation", { name: "Sections" }).getByRole("link", { name: "Artifacts" })).toContainText("1");
  await uploads(editor).getByRole("link", { name: "sketch.png" }).click();
  await expect(editor.getByRole("complementary", { name: "Properties" }).getByRole("link", { name: "With files" })).toHaveAttribute("href", `/project/${id}`);
  await expect(editor.locator("h1")).toBeVisible();
  const preview = editor.locator("img.preview");
  await expect(preview).toBeVisible();
  await expect.poll(() => preview.evaluate((img) => img.complete && img.naturalWidth)).toBeGreaterThan(100);
  // The viewer sees the file, its preview, and can download it.
  await viewer.getByRole("link", { name: "sketch.png" }).first().click();
  await expect(viewer.locator("img.preview")).toBeVisible();
  await expect(viewer.locator(".section.file")).toContainText("image/png");
  await expect(viewer.getByRole("button", { name: "New version" })).toHaveCount(0);
  const [download] = await Promise.all([viewer.waitForEvent("download"), viewer.getByRole("button", { name: "Download" }).click()]);
  expect(download.suggestedFilename()).toBe("sketch.png");
  expect(readFileSync(await download.path()).equals(picture)).toBe(true);
  // A new version is a separate artifact; the first one links to it.
  await editor.locator(".section.file input[type=file]").setInputFiles({ name: "sketch-2.png", mimeType: "image/png", buffer: picture });
  await expect(uploads(editor).getByRole("link", { name: "sketch-2.png" })).toBeVisible();
  await viewer.reload();
  await viewer.getByRole("link", { name: "sketch-2.png" }).click();
  await expect(viewer.locator(".section.file")).toContainText("image/png");
  expect([...editor.problems, ...viewer.problems]).toEqual([]);
});

test("an interrupted upload resumes, and a cancelled upload leaves no data", async ({ signInAs, servers }) => {
  const { id } = await importPlan("editor", samplePlan, "Cut files");
  const editor = await signInAs("editor");
  await editor.goto(`/project/${id}/artifact`);
  const bytes = randomBytes(3_000_000);
  const sentOffsets = [];
  let blocked = true;
  await editor.route("**/api/v1/upload/*", async (route) => {
    const request = route.request();
    const offset = Number(request.headers()["upload-offset"] ?? -1);
    if (request.method() !== "PATCH") return route.continue();
    if (blocked && offset > 0) return route.abort();
    sentOffsets.push(offset);
    return route.continue();
  });
  await chooseFiles(editor, { name: "large.bin", mimeType: "application/octet-stream", buffer: bytes });
  await expect(uploads(editor)).toContainText("Waiting for network");
  await servers.stop();
  blocked = false;
  await expect(uploads(editor)).toContainText("Waiting for network");
  await servers.start();
  await expect(uploads(editor).getByRole("link", { name: "large.bin" })).toBeVisible({ timeout: 40_000 });
  expect(new Set(sentOffsets).size, "no part is sent twice").toBe(sentOffsets.length);
  const sha256 = servers.sql(`select sha256 from app.artifact where name = 'large.bin' order by created_ts desc limit 1`);
  const { createHash } = await import("node:crypto");
  expect(sha256).toBe(createHash("sha256").update(bytes).digest("hex"));
  // Cancelled by the user during the upload.
  blocked = true;
  await chooseFiles(editor, { name: "unwanted.bin", mimeType: "application/octet-stream", buffer: bytes });
  await expect(uploads(editor)).toContainText("Waiting for network");
  await uploads(editor).getByRole("listitem").filter({ hasText: "unwanted.bin" }).getByRole("button", { name: "Cancel" }).click();
  await expect(uploads(editor)).not.toContainText("unwanted.bin");
  await expect.poll(() => servers.sql("select count(*) from app.upload where artifact_id is null")).toBe("0");
  expect(servers.sql("select count(*) from app.artifact where name = 'unwanted.bin'")).toBe("0");
  // Deleted by the server because it was idle for too long: the upload starts over.
  await chooseFiles(editor, { name: "late.bin", mimeType: "application/octet-stream", buffer: bytes });
  await expect(uploads(editor)).toContainText("Waiting for network");
  expect(servers.sql("with deleted as (delete from app.upload where name = 'late.bin' returning 1) select count(*) from deleted")).toBe("1");
  blocked = false;
  await expect(uploads(editor).getByRole("link", { name: "late.bin" })).toBeVisible({ timeout: 40_000 });
  expect(servers.sql(`select count(*) from app.artifact where name = 'late.bin' and size_bytes = ${bytes.length}`)).toBe("1");
  expect(editor.problems).toEqual([]);
});

test("active content is neither previewed nor served with its claimed type", async ({ signInAs, servers }, info) => {
  const { id } = await importPlan("editor", samplePlan, "Hostile files");
  const editor = await signInAs("editor");
  await editor.goto(`/project/${id}/artifact`);
  const file = join(info.outputDir, "photo.png");
  const { mkdirSync } = await import("node:fs");
  mkdirSync(info.outputDir, { recursive: true });
  writeFileSync(file, "<!doctype html><script>document.title = 'run'</script>");
  await chooseFiles(editor, file);
  await uploads(editor).getByRole("link", { name: "photo.png" }).click();
  await expect(editor.locator(".section.file")).toContainText("text/html");
  await expect(editor.locator(".preview")).toHaveCount(0);
  const addressResponse = editor.waitForResponse((response) => response.url().includes("/download-url"));
  await editor.getByRole("button", { name: "Download" }).click();
  const { path } = await (await addressResponse).json();
  const response = await editor.request.get(path);
  expect([response.headers()["content-type"], response.headers()["x-content-type-options"]]).toEqual(["application/octet-stream", "nosniff"]);
  expect(response.headers()["content-disposition"]).toContain("attachment");
  // A file above the size limit is rejected before a byte is sent.
  await editor.goto(`/project/${id}/artifact`);
  await expect(editor.getByRole("button", { name: "Choose files" })).toBeVisible();
  await editor.evaluate(() => {
    const input = document.querySelector("input[type=file]");
    const transfer = new DataTransfer();
    const file = new File(["x"], "huge.bin");
    Object.defineProperty(file, "size", { value: 600 * 1024 * 1024 });
    transfer.items.add(file);
    Object.defineProperty(input, "files", { value: { length: 1, item: () => file, 0: file } });
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });
  await expect(uploads(editor).getByRole("alert")).toContainText("500 MB");
  expect(editor.problems).toEqual([]);
});
