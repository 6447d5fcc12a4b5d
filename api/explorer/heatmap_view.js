// heatmap_view.js - the Heat map tab: the chosen head in a heatmap.js, wired to the state.
// SPDX-License-Identifier: Apache-2.0
import { Heatmap } from './heatmap.js';
import { isPooled } from './long.js';

/** @param {HTMLElement} host @param {object} app @returns {import('./views.js').View} */
export function create(host, app) {
    let drawn = '', map = null, said = null;
    const heatmap = new Heatmap(host, {
        onCell: ({ query, key }) => app.state.set({ cell: { q: query, k: key } }),
        onZoom: zoom => {
            said = JSON.stringify(zoom);
            app.state.set({ zoom: null });
            app.state.set({ zoom });
        },
    });
    return {
        show(result, now) {
            const chosen = app.chosen(), { layer, head, T_q, T_k } = chosen, zoom = JSON.stringify(now.zoom);
            const opts = {
                colours: now.colours, scale: now.scale, hideFirst: now.hideFirst, hideSpecial: now.hideSpecial, pooled: isPooled(chosen), name: `layer ${layer}, head ${head}`,
                pinned: now.cell && now.cell.q < T_q && now.cell.k < T_k ? { query: now.cell.q, key: now.cell.k } : null,
            };
            const same = map && map.buffer === chosen.map.buffer && map.byteOffset === chosen.map.byteOffset, key = JSON.stringify([opts, app.dark()]);
            if (same && key === drawn && zoom === said)
                return;
            heatmap.show(chosen.map, T_q, T_k, chosen.queryTokens, chosen.keyTokens, zoom === said ? opts : { ...opts, zoom: now.zoom });
            [map, drawn, said] = [chosen.map, key, zoom];
        },
        clear() {
            map = null;
            heatmap.clear();
        },
        picture: () => heatmap.picture(),
    };
}
