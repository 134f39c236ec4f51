import { defineConfig } from "vite";

// One classic script and one style sheet with fixed names: browsers refuse module scripts from file://, and the report inlines both.
export default defineConfig({
  build: {
    target: "es2022",
    outDir: "../src/microtome/app/static",
    emptyOutDir: true,
    cssCodeSplit: false,
    lib: {
      entry: "src/main.tsx",
      formats: ["iife"],
      name: "microtome",
      fileName: () => "page.js",
      cssFileName: "page",
    },
  },
  define: { "process.env.NODE_ENV": '"production"' },
});
