// The network's worker is a classic script, as LiteRT.js loads its runtime by importScripts.
export default {
  base: "./",
  worker: { format: "iife" },
  build: { target: "es2022", modulePreload: { polyfill: false }, assetsInlineLimit: 0 },
};
