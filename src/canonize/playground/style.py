"""The looks of the page: one sheet that follows the light and dark colours of the surroundings."""

CSS = """
.pg { --pg-quiet: #5b6472; --pg-rule: #d5dae2; --pg-soft: #f1f3f6; --pg-bad: #b3261e;
  --pg-0: #0b62c4; --pg-1: #c2410c; --pg-2: #0a7d5c; --pg-3: #a3338b; --pg-4: #8a6100; --pg-5: #4b5563;
  color: var(--body-text-color, #1c2330); font-size: 15px; }
.dark .pg { --pg-quiet: #a3acb9; --pg-rule: #3a424f; --pg-soft: #232933; --pg-bad: #ff8a80;
  --pg-0: #6cb2ff; --pg-1: #ff9a62; --pg-2: #4fd6a8; --pg-3: #f09add; --pg-4: #f2c14e; --pg-5: #b8c1cf; }
.pg h3 { margin: 18px 0 6px; font-size: 16px; font-weight: 600; }
.pg h4 { margin: 0 0 4px; font-size: 13px; font-weight: 600; color: var(--pg-quiet); }
.pg p { margin: 4px 0; }
.pg .pg-quiet, .pg .pg-moves { color: var(--pg-quiet); font-size: 13px; }
.pg .pg-row { display: grid; grid-template-columns: repeat(auto-fit, minmax(210px, 1fr)); gap: 12px; margin: 0 0 12px; }
.pg .pg-wide { grid-template-columns: repeat(auto-fit, minmax(min(320px, 100%), 1fr)); }
.pg .pg-figures { grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
.pg figure { margin: 0; text-align: center; }
.pg figcaption { color: var(--pg-quiet); font-size: 13px; margin-top: 4px; }
.pg .pg-pixels, .pg .pg-drawing { width: 100%; max-width: 250px; aspect-ratio: 1; margin: 0 auto; display: block;
  background: var(--pg-soft); border-radius: 8px; }
.pg .pg-pixels { image-rendering: pixelated; object-fit: contain; }
.pg .pg-card { background: var(--pg-soft); border-radius: 8px; padding: 10px 14px; border-left: 4px solid var(--pg-1); }
.pg .pg-card.pg-symmetrized { border-left-color: var(--pg-2); }
.pg .pg-near { border-left: 4px solid var(--pg-4); background: var(--pg-soft); border-radius: 8px; padding: 8px 14px; }
.pg output { display: block; font-size: 24px; font-weight: 600; font-variant-numeric: tabular-nums; }
.pg .pg-bar { display: grid; grid-template-columns: minmax(72px, max-content) 1fr 56px;
  align-items: center; gap: 0 8px; font-size: 13px; }
.pg .pg-bar span:last-child { text-align: right; font-variant-numeric: tabular-nums; }
.pg .pg-bar i { height: 8px; border-radius: 4px; background: var(--pg-0); min-width: 1px; display: block; }
.pg .pg-chart { width: 100%; display: block; }
.pg .pg-grid { stroke: var(--pg-rule); stroke-width: 1; }
.pg .pg-here { stroke: currentColor; stroke-width: 1; stroke-dasharray: 4 3; }
.pg .pg-tick { fill: var(--pg-quiet); font-size: 11px; }
.pg g path { fill: none; stroke-width: 1.8; stroke: var(--pg-line); }
.pg g .pg-dot { fill: var(--pg-line); stroke: var(--pg-line); }
.pg g .pg-open { fill: var(--body-background-fill, #fff); }
.pg .pg-line-0 { --pg-line: var(--pg-0); } .pg .pg-line-1 { --pg-line: var(--pg-1); }
.pg .pg-line-2 { --pg-line: var(--pg-2); } .pg .pg-line-3 { --pg-line: var(--pg-3); }
.pg .pg-line-4 { --pg-line: var(--pg-4); } .pg .pg-line-5 { --pg-line: var(--pg-5); }
.pg .pg-legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 13px; color: var(--pg-quiet); }
.pg .pg-legend i { display: inline-block; width: 14px; height: 3px; margin-right: 6px; vertical-align: middle;
  background: var(--pg-line); }
.pg .pg-bond { stroke: #9aa4b2; stroke-width: 5; stroke-linecap: round; }
.pg .pg-atom { stroke: #2b3340; stroke-width: 1; }
.pg .pg-symbol, .pg .pg-number { text-anchor: middle; font-weight: 600; }
.pg .pg-number { font-size: 12px; fill: #1c2330; }
.pg .pg-edge { stroke: #8a94a3; stroke-width: 2; }
.pg .pg-node { stroke: #2b3340; stroke-width: 1; }
.pg .pg-scroll { overflow-x: auto; }
.pg table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
.pg table, .pg thead, .pg tbody, .pg tr { border: 0 !important; background: none !important; }
.pg th, .pg td { text-align: left; padding: 3px 16px 3px 0 !important; border: 0 !important;
  border-bottom: 1px solid var(--pg-rule) !important; }
.pg .pg-error { white-space: pre-wrap; color: var(--pg-bad); background: var(--pg-soft);
  padding: 12px; margin: 0 0 12px; border-radius: 8px; }
footer { display: none !important; }
"""
