// cooperative_16 — matrices of 16 x 16, as the units of NVIDIA and AMD multiply them

const SIDE = 16u;
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sum = coop_mat16x16<f32, C>;
