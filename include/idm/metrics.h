// Image quality as published (MODEL.md "Test protocol"; Wang et al. 2004 for SSIM).
#ifndef IDM_METRICS_H
#define IDM_METRICS_H

#include <idm/status.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// `x`: reconstructed plane, height x width floats in [0, 1] (clamped here, times 255, not rounded); `truth`: the 8-bit luminance.
// PSNR in dB against peak 255; +infinity for equal planes.
IDM_API double idm_psnr(const float *x, const uint8_t *truth, int height, int width);

// SSIM: 7x7 uniform window, sample covariance, K1 0.01, K2 0.03, data range 255, mean over windows that lie inside (a 3-pixel border left
// out). Needs height, width >= 7; smaller planes give NaN.
IDM_API double idm_ssim(const float *x, const uint8_t *truth, int height, int width);

#ifdef __cplusplus
}
#endif
#endif
