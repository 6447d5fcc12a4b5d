// numbers.js - numbers as people read them: a float32 exactly as the API writes it in JSON, shares in per cent.
// SPDX-License-Identifier: Apache-2.0

/**
 * The shortest decimal that reads back as the same float32, in the shorter of "0.012" and "1.2e-5"; what the API's JSON holds for it.
 * @param {number} value a float32
 * @returns {string}
 */
export function float32Text(value) {
    if (Object.is(value, -0))
        return '-0.0';
    if (!Number.isFinite(value))
        return 'null';
    if (value === 0)
        return '0';
    const [digits, exponent] = shortestDigits(Math.abs(value));
    const sign = value < 0 ? '-' : '';
    const positional = inPlace(digits, exponent);
    const scientific = `${digits[0]}${digits.length > 1 ? '.' + digits.slice(1) : ''}e${exponent}`;
    return sign + (positional.length <= scientific.length ? positional : scientific);
}

/** Nine digits tell every float32 from every other; fewer often do. @returns {[string, number]} digits without point, exponent of the first */
function shortestDigits(value) {
    for (let n = 1; n <= 9; n++) {
        const [mantissa, exponent] = value.toExponential(n - 1).split('e');
        if (Math.fround(Number(`${mantissa}e${exponent}`)) === value)
            return [mantissa.replace('.', '').replace(/0+$/, ''), Number(exponent)];
    }
    return shortestDigits(Math.fround(value));
}

function inPlace(digits, exponent) {
    if (exponent < 0)
        return '0.' + '0'.repeat(-exponent - 1) + digits;
    if (digits.length <= exponent + 1)
        return digits + '0'.repeat(exponent + 1 - digits.length);
    return digits.slice(0, exponent + 1) + '.' + digits.slice(exponent + 1);
}

/** A weight with two or three digits that matter, for sentences: "0.43", "0.0012". */
export function shortWeight(value) {
    if (!Number.isFinite(value))
        return '−∞';
    if (value === 0)
        return '0';
    return Math.abs(value) >= 0.01 ? value.toFixed(2) : value.toPrecision(1).replace('e-', 'e−');
}

/** A share of the whole: "63 %", "0.4 %", "under 0.1 %". */
export function percent(share) {
    const p = share * 100;
    if (p !== 0 && Math.abs(p) < 0.1)
        return 'under 0.1 %';
    return `${Math.abs(p) < 10 && p !== 0 ? p.toFixed(1) : Math.round(p)} %`;
}
